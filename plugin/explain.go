package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/xds"
)

type explainOptions struct {
	policyOptions
	SNI      string
	Host     string
	IP       string
	HTTP2    bool
	Resolved []string
	Families string
	Output   outputFormat

	families xds.Families
	question *question
	// target is a policy or pod of the cluster, nil with -f.
	target *target
}

const explainLong = `Explain what a policy does: one in a file, one in the cluster, or the one that a pod has.

Without a request: every way that a connection can take through the proxy, in the order of its decisions, each with the
field of the policy that it comes from. With one: the verdict, the rule that decides, what the client sees, what would be
injected, and the rule that comes nearest to allowing it. The answer is computed from the plan that Envoy's configuration
is rendered from.

Of a pod it is also told which revision its Envoy really runs, whether that is what the policy renders, and why a later one was
refused.

A request is [METHOD] URL; https, http, tls (TLS that does not carry HTTP) and tcp (neither) are understood. A denied
request is an answer too: the exit code stays 0; -o json is there for scripts.`

const explainExample = `  # The whole policy
  kubectl netproxy explain -f policy.yaml

  # One request
  kubectl netproxy explain -f policy.yaml POST https://api.openai.com/v1/files

  # Domain fronting: the handshake asks for one name, the request for another
  kubectl netproxy explain -f policy.yaml https://api.openai.com/ --host attacker.example

  # A database
  kubectl netproxy explain -f policy.yaml tcp://10.0.0.5:5432

  # What does this pod run, and why was the request denied?
  kubectl netproxy explain pod/agent-7d9f
  kubectl netproxy explain pod/agent-7d9f POST https://api.openai.com/v1/files

  # For a script
  kubectl netproxy explain -f policy.yaml https://api.openai.com/ -o json`

func newExplainCommand(s *shell) *cobra.Command {
	o := &explainOptions{}
	cmd := &cobra.Command{
		Use: "explain (-f FILENAME | POLICY | pod/NAME) [[METHOD] URL]", Short: "Explain a policy, or what it does to a request",
		Long: explainLong, Example: explainExample, Args: cobra.MaximumNArgs(3), DisableFlagsInUseLine: true, ValidArgsFunction: s.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd, args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context(), s)
		},
	}
	o.addFlags(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&o.SNI, "sni", "", "name in the TLS handshake; empty for none (default: the URL's host)")
	flags.StringVar(&o.Host, "host", "", "Host header or :authority (default: the URL's host)")
	flags.StringVar(&o.IP, "ip", "", "address that the client connects to")
	flags.StringSliceVar(&o.Resolved, "resolved", nil, "address that the proxy's DNS has for the name (repeatable; default: one that the rule accepts)")
	flags.BoolVar(&o.HTTP2, "http2", false, "the request is HTTP/2")
	flags.StringVar(&o.Families, "family", "dual", "address families of the pod: dual, ipv4 or ipv6")
	addOutputFlag(cmd, &o.Output)
	return cmd
}

func (o *explainOptions) complete(cmd *cobra.Command, args []string) error {
	var err error
	if args, err = o.takeTarget(args); err != nil {
		return err
	}
	if o.families, err = parseFamilies(o.Families); err != nil || len(args) == 0 {
		return err
	}
	o.question, err = parseQuestion(args)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("sni") {
		o.question.SNI = o.SNI
	}
	if cmd.Flags().Changed("host") {
		o.question.Host = o.Host
	}
	o.question.HTTP2 = o.HTTP2
	for _, text := range o.Resolved {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--resolved %q: write an IPv4 or IPv6 address", text)
		}
		o.question.Resolved = append(o.question.Resolved, addr.Unmap())
	}
	if o.IP == "" {
		return nil
	}
	addr, err := netip.ParseAddr(strings.Trim(o.IP, "[]"))
	if err != nil {
		return fmt.Errorf("--ip %q: write an IPv4 or IPv6 address", o.IP)
	}
	o.question.Dst = netip.AddrPortFrom(addr.Unmap(), o.question.Dst.Port())
	return nil
}

// takeTarget takes the first argument for a policy or pod if there is no file.
func (o *explainOptions) takeTarget(args []string) ([]string, error) {
	switch {
	case len(o.Filenames) > 0 && len(args) > 2:
		return nil, fmt.Errorf("unexpected argument %q: with -f the arguments are [METHOD] URL", args[2])
	case len(o.Filenames) > 0:
		return args, nil
	case len(args) == 0 || strings.Contains(args[0], "://"):
		return nil, errors.New("explain what? write -f policy.yaml, the name of a policy, or pod/NAME")
	case o.Name != "":
		return nil, errors.New("--name chooses among the policies of -f: leave it out")
	}
	t, err := parseTarget(args[0])
	o.target = &t
	return args[1:], err
}

func (o *explainOptions) validate() error {
	if o.target == nil {
		if err := o.policyOptions.validate(); err != nil {
			return err
		}
	}
	q := o.question
	switch {
	case q == nil && (o.SNI != "" || o.Host != "" || o.IP != "" || o.HTTP2 || len(o.Resolved) > 0):
		return errors.New("--sni, --host, --ip, --resolved and --http2 are about a request: add its URL, for example https://api.openai.com/")
	case q == nil:
		return nil
	case o.SNI != "" && !q.TLS:
		return fmt.Errorf("--sni: there is no TLS handshake in %s: use https or tls", q.url)
	case o.Host != "" && !q.HTTP:
		return fmt.Errorf("--host: there is no Host in %s: use https or http", q.url)
	case !q.TLS && !q.HTTP && !q.Dst.Addr().IsValid():
		return fmt.Errorf("%s: the proxy sees an address here and no name: write one, or add --ip", q.url)
	}
	return nil
}

func (o *explainOptions) run(ctx context.Context, s *shell) error {
	c, pod, err := o.find(ctx, s)
	if err != nil {
		return err
	}
	if o.question == nil {
		return o.wholePolicy(s, c, pod)
	}
	if pod != nil {
		pod.warn(s)
	}
	v := c.plan.Evaluate(o.question.Request)
	if o.Output != "" {
		return o.Output.print(s.Out, v)
	}
	_, err = fmt.Fprint(s.Out, answer(s.painter(), c, o.question, v))
	return err
}

func (o *explainOptions) wholePolicy(s *shell, c *chosen, pod *runningPod) error {
	c.warn(s)
	root := explainTree(c, c.plan.Describe(o.families))
	if pod != nil {
		pod.add(s, &root)
	}
	if o.Output != "" {
		return o.Output.print(s.Out, branchOf(root))
	}
	_, err := fmt.Fprint(s.Out, s.painter().Tree(root))
	return err
}
