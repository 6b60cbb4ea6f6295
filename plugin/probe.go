package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/plugin/lab/attack"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

// The keys of the Secret that a probe reads.
const (
	// probePolicyFile has the policy, and Secrets with the values that its proxy injects.
	probePolicyFile = "policy.yaml"
	// probeAuthorityFile has the lab's authority, which its proxy trusts.
	probeAuthorityFile = "world-ca.pem"
	// probeOptionsFile has probeOptions.
	probeOptionsFile = "options.json"
)

// probeOptions are what a probe is asked to do.
type probeOptions struct {
	// Only, when not empty, are the scenarios to run.
	Only []string `json:"only,omitempty"`
	// PrivateRanges are what the cluster counts as private besides the built-in ranges.
	PrivateRanges []string `json:"privateRanges,omitempty"`
}

// probeStep is what a line of a probe is about.
type probeStep string

const (
	// probeStart: the lab is there, Total rows follow.
	probeStart probeStep = "start"
	// probeRow: one scenario is over.
	probeRow probeStep = "row"
	// probeEnd: all rows were written.
	probeEnd probeStep = "end"
	// probeError: the lab cannot be built, or broke; nothing follows.
	probeError probeStep = "error"
)

// probeEvent is a line of what a probe prints.
type probeEvent struct {
	Event probeStep `json:"event"`
	// Total is how many rows there will be.
	Total int             `json:"total,omitempty"`
	Row   *attack.Outcome `json:"row,omitempty"`
	// Text says what went wrong.
	Text string `json:"text,omitempty"`
}

const probeLong = `Attack the proxy of the pod that this runs in.

test-fronting starts it in a pod of its own, which the webhook has injected like others. The pod's interfaces are taken down
first: the Internet that the attacks see is a second network namespace inside of the pod.

Every line of the output is JSON. Exit code 1 if the attacks cannot run, else 0, whatever they find.`

func newProbeCommand(s *shell) *cobra.Command {
	p := &probeRun{shell: s}
	cmd := &cobra.Command{
		Use: "probe", Short: "Attack the proxy of this pod", Long: probeLong, Args: noArguments, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.run(cmd.Context()); err != nil {
				return p.fail(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&p.dir, "dir", inject.ProbeLabMount, "directory with "+probePolicyFile+", "+probeAuthorityFile+" and "+probeOptionsFile)
	cmd.Flags().StringVar(&p.resolv, "resolv-conf", "/etc/resolv.conf", "file with the pod's resolvers")
	return cmd
}

// probeRun is one run inside of a pod.
type probeRun struct {
	*shell
	dir, resolv string
}

// fail tells who follows the log. Standard error is in that log too, so that nothing else is written there.
func (p *probeRun) fail(err error) error {
	var code exitCode
	if errors.As(err, &code) {
		return err
	}
	return errors.Join(p.print(probeEvent{Event: probeError, Text: err.Error()}), exitCode(ExitFailed))
}

func (p *probeRun) print(e probeEvent) error { return json.NewEncoder(p.Out).Encode(e) }

func (p *probeRun) run(ctx context.Context) error {
	if lab.Inside() {
		return p.attack(ctx)
	}
	code, err := lab.EnterPod(ctx, p.args, lab.Streams{In: p.In, Out: p.Out, Err: p.ErrOut})
	if err == nil && code != ExitGood {
		return exitCode(code)
	}
	return err
}

func (p *probeRun) attack(ctx context.Context) error {
	o, err := p.options()
	if err != nil {
		return err
	}
	r, err := p.join(ctx, o)
	if err != nil {
		return err
	}
	err = p.print(probeEvent{Event: probeStart, Total: len(attack.Select(o.Only))})
	progress := func(row attack.Outcome) { err = errors.Join(err, p.print(probeEvent{Event: probeRow, Row: &row})) }
	_, runErr := attack.Run(ctx, attack.Options{Lab: r.lab, Pod: r.pod, Target: r.target, Only: o.Only, Progress: progress})
	if err := r.closeLab(errors.Join(runErr, err)); err != nil {
		return err
	}
	return p.print(probeEvent{Event: probeEnd})
}

func (p *probeRun) read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return nil, fmt.Errorf("reading the probe's Secret: %w", err)
	}
	return data, nil
}

func (p *probeRun) options() (probeOptions, error) {
	var o probeOptions
	data, err := p.read(probeOptionsFile)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("reading %s: %w", probeOptionsFile, err)
	}
	return o, nil
}

// join puts the lab around the pod.
func (p *probeRun) join(ctx context.Context, o probeOptions) (*labRun, error) {
	c, err := p.load(o.PrivateRanges)
	if err != nil {
		return nil, err
	}
	text, err := p.read(probeAuthorityFile)
	if err != nil {
		return nil, err
	}
	authority, err := lab.ParseAuthority(text)
	if err != nil {
		return nil, err
	}
	resolvers, err := resolversIn(p.resolv)
	if err != nil {
		return nil, err
	}
	l, err := lab.Join(ctx, lab.JoinOptions{
		Resolvers: resolvers, Authority: authority,
		RedirectPort: uint16(c.spec.Proxy.PortOrDefault()), AdminPort: uint16(c.spec.Proxy.AdminPortOrDefault()),
	})
	if err != nil {
		return nil, fmt.Errorf("building the lab in the pod: %w", err)
	}
	r := &labRun{rendering: c, lab: l, pod: l.Pods[0]}
	r.target = newTargeter(r).target()
	return r, nil
}

// load reads the policy and what its proxy injects.
func (p *probeRun) load(private []string) (*rendering, error) {
	quiet := *p.shell
	quiet.ErrOut = io.Discard
	files := policyOptions{Filenames: []string{filepath.Join(p.dir, probePolicyFile)}, rangeOptions: rangeOptions{private}}
	c, err := files.load(&quiet)
	if err != nil {
		return nil, err
	}
	credentials, err := c.credentials(&quiet)
	if err != nil {
		return nil, err
	}
	for _, credential := range c.plan.Credentials() {
		if _, ok := credentials[credential]; !ok {
			return nil, fmt.Errorf("%s lacks Secret %s", probePolicyFile, credential.Secret)
		}
	}
	return &rendering{chosen: c, config: xds.Config{Credentials: credentials}}, nil
}

// resolversIn are the nameservers of a resolv.conf.
func resolversIn(file string) ([]netip.Addr, error) {
	config, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the pod's resolvers: %w", err)
	}
	var out []netip.Addr
	for _, text := range config.Servers {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("reading the pod's resolvers: %w", err)
		}
		out = append(out, addr)
	}
	return out, nil
}
