package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/compose"
)

type createOptions struct {
	request     compose.Request
	ClusterWide bool
	Audit       string
	DryRun      string
	Force       bool
	Output      listFormat
}

const createPolicyLong = `Create a policy from what the pods may reach, or change it to that.

A destination is [METHOD[,METHOD]] https://HOST[:PORT][/PATH] or http://..., where a * ends a path that is a prefix;
tls://HOST[:PORT] or a bare HOST for TLS that is passed on; tcp://CIDR[:PORT[-PORT]] for addresses. Methods and paths of
https show only where TLS is intercepted: --mitm names these hosts.

A header is DOMAIN:NAME=secret/SECRET/KEY, with text in front if it needs some ('Bearer secret/openai/api-key'), or
DOMAIN:NAME=VALUE. The Secret is one of the pods' namespace; the pods themselves never see the value.`

const createPolicyExample = `  # Look first: print the policy, touch nothing
  kubectl netproxy create policy agent --selector app=agent --allow 'POST https://api.openai.com/v1/*' --mitm api.openai.com --dry-run=client -o yaml

  # With the key of the API, which the pods never see
  kubectl netproxy create policy agent --selector app=agent --mitm api.openai.com \
    --allow 'GET,POST https://api.openai.com/v1/*' --header 'api.openai.com:Authorization=Bearer secret/openai/api-key'

  # Names without interception, and a database
  kubectl netproxy create policy ci --selector '' --allow '*.github.com' --allow tcp://10.0.0.5:5432

  # Let everything through and record it, to learn a policy from it
  kubectl netproxy create policy agent --selector app=agent --default allow --audit all

  # All namespaces with a label
  kubectl netproxy create policy base --cluster --namespace-selector team=ml --selector '' --allow packages.example.com`

func newCreateCommand(s *shell) *cobra.Command {
	create := &cobra.Command{
		Use: "create", Short: "Create a policy from flags", Args: noArguments,
		Example: "  kubectl netproxy create policy --help",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	create.AddCommand(newCreatePolicyCommand(s))
	return create
}

func newCreatePolicyCommand(s *shell) *cobra.Command {
	o := &createOptions{}
	r := &o.request
	cmd := &cobra.Command{
		Use: "policy NAME --selector LABELS [--allow DESTINATION...]", Short: "Create a policy, or change it",
		Long: createPolicyLong, Example: createPolicyExample, DisableFlagsInUseLine: true,
		Args: onePolicyArgument, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			if err := o.complete(cmd, s); err != nil {
				return err
			}
			return o.run(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&r.Selector, "selector", "l", "", "labels of the pods, such as app=agent; '' selects all pods (required)")
	flags.StringVar(&r.Default, "default", "deny", "what happens to everything else: deny or allow")
	flags.StringArrayVar(&r.Allow, "allow", nil, "a destination that the pods may reach (repeatable)")
	flags.StringArrayVar(&r.Deny, "deny", nil, "a destination that they may not, even if an --allow covers it (repeatable)")
	flags.StringSliceVar(&r.MITM, "mitm", nil, "a host whose TLS is intercepted (repeatable)")
	flags.StringSliceVar(&r.Passthrough, "passthrough", nil, "a host that is never intercepted, even inside a wildcard of --mitm (repeatable)")
	flags.StringArrayVar(&r.Headers, "header", nil, "a header to set on requests to an intercepted host (repeatable)")
	flags.StringVar(&r.Resolution, "resolution", "", "addresses that names may have: public (default), any, or client")
	flags.StringVar(&o.Audit, "audit", string(compose.AuditDenied), "what is recorded: denied, rules (what a rule matches too) or all")
	flags.BoolVar(&o.ClusterWide, "cluster", false, "make a ClusterEgressPolicy, for the namespaces of --namespace-selector")
	flags.StringVar(&r.NamespaceSelector, "namespace-selector", "", "labels of the namespaces; without it all (with --cluster)")
	flags.StringVar(&o.DryRun, "dry-run", "none", "none, client (touch nothing) or server (let the API server judge it)")
	flags.BoolVar(&o.Force, "force-conflicts", false, "take over fields that somebody else owns")
	o.Output.addFlag(cmd)
	return cmd
}

func (o *createOptions) complete(cmd *cobra.Command, s *shell) error {
	r := &o.request
	r.Scope, r.Namespace, r.Audit = compose.Namespaced, s.namespaceFlag(), compose.Audit(o.Audit)
	if o.ClusterWide {
		r.Scope = compose.ClusterWide
	}
	switch {
	case !cmd.Flags().Changed("selector"):
		return errors.New("which pods? add --selector, such as --selector app=agent, or --selector '' for all of them")
	case !o.ClusterWide && r.NamespaceSelector != "":
		return errors.New("--namespace-selector: only a cluster-wide policy selects namespaces: add --cluster")
	}
	return checkDryRun(o.DryRun)
}

func checkDryRun(value string) error {
	switch value {
	case "none", "client", "server":
		return nil
	}
	return fmt.Errorf("--dry-run %q: write none, client or server", value)
}

func (o *createOptions) run(ctx context.Context, s *shell) error {
	composed, err := compose.Compose(o.request)
	if err != nil {
		return listOf("the policy cannot be made", err)
	}
	warnings, errs := v1alpha1.ValidatePolicy(composed.Policy)
	if len(errs) > 0 {
		var lines []string
		for _, err := range errs {
			lines = append(lines, withOrigin(composed.Origins.Of(err.Field), err.Error()))
		}
		return problems{"the policy would be invalid", lines}
	}
	for _, w := range warnings {
		s.advised.first(w.String())
		s.warn("%s", withOrigin(composed.Origins.Of(w.Field), w.String()))
	}
	if o.DryRun == "client" {
		return o.show(s, composed.Policy, "created (dry run)")
	}
	return o.apply(ctx, s, composed.Policy)
}

func withOrigin(flag, text string) string {
	if flag == "" {
		return text
	}
	return flag + ": " + text
}

func (o *createOptions) apply(ctx context.Context, s *shell, policy v1alpha1.Policy) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	if kindOf(policy) == v1alpha1.KindEgressPolicy {
		policy.SetNamespace(client.Namespace)
	}
	done := "configured"
	if _, err := client.Policy(ctx, kindOf(policy), policy.GetNamespace(), policy.GetName()); cluster.IsNotFound(err) {
		done = "created"
	} else if err != nil {
		return err
	}
	options := cluster.ApplyOptions{}
	if o.DryRun == "server" {
		options.DryRun = cluster.Validate
		done += " (server dry run)"
	}
	if o.Force {
		options.Conflicts = cluster.TakeFields
	}
	applied, err := client.Apply(ctx, policy, options)
	if err != nil {
		return err
	}
	if err := o.show(s, applied, done); err != nil || o.DryRun == "server" {
		return err
	}
	fmt.Fprintf(s.ErrOut, "See what becomes of it: kubectl netproxy status %s%s -w\n", shortName(applied), namespaceHint(s))
	return nil
}

// namespaceHint repeats -n in a command that is printed to be pasted.
func namespaceHint(s *shell) string {
	if s.namespaceFlag() == "" {
		return ""
	}
	return " -n " + s.namespaceFlag()
}

func (o *createOptions) show(s *shell, policy v1alpha1.Policy, done string) error {
	switch o.Output {
	case "", formatWide:
		_, err := fmt.Fprintf(s.Out, "%s.%s/%s %s\n", resourceName(policy), v1alpha1.Group, policy.GetName(), done)
		return err
	case formatYAML:
		text, err := policyYAML(policy)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(s.Out, text)
		return err
	}
	return o.Output.printPolicies(s.Out, []v1alpha1.Policy{policy}, 1)
}

// policyYAML is what a user would write into a file.
func policyYAML(policy v1alpha1.Policy) (string, error) {
	data, err := cluster.Intent(policy)
	if err != nil {
		return "", err
	}
	out, err := yaml.JSONToYAML(data)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", policyTitle(policy), err)
	}
	return strings.TrimSuffix(string(out), "\n") + "\n", nil
}
