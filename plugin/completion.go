package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
)

const completionLong = `Print a completion script.

For "kubectl netproxy <TAB>" kubectl (1.26 and newer) asks a program named kubectl_complete-netproxy on the PATH: print it
with "completion kubectl". The other scripts complete the program's own name, kubectl-netproxy.`

const completionExample = `  # kubectl netproxy <TAB>, in whatever shell kubectl itself completes
  kubectl netproxy completion kubectl > ~/.local/bin/kubectl_complete-netproxy
  chmod +x ~/.local/bin/kubectl_complete-netproxy

  # kubectl-netproxy <TAB>
  source <(kubectl netproxy completion bash)
  kubectl netproxy completion zsh > "${fpath[1]}/_kubectl-netproxy"
  kubectl netproxy completion fish > ~/.config/fish/completions/kubectl-netproxy.fish`

// kubectlCompletion is what kubectl runs (kubernetes.io, "Extend kubectl with plugins").
const kubectlCompletion = "#!/bin/sh\nexec kubectl-netproxy __complete \"$@\"\n"

func shells() []string { return []string{"kubectl", "bash", "zsh", "fish", "powershell"} }

func oneShell(_ *cobra.Command, args []string) error {
	if len(args) != 1 || !slices.Contains(shells(), args[0]) {
		return fmt.Errorf("which completion? write one of %s", strings.Join(shells(), ", "))
	}
	return nil
}

func newCompletionCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print a completion script: kubectl, bash, zsh, fish or powershell",
		Long: completionLong, Example: completionExample, DisableFlagsInUseLine: true,
		ValidArgs: shells(),
		Args:      oneShell,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "kubectl":
				_, err := fmt.Fprint(s.Out, kubectlCompletion)
				return err
			case "bash":
				return root.GenBashCompletionV2(s.Out, true)
			case "zsh":
				return root.GenZshCompletion(s.Out)
			case "fish":
				return root.GenFishCompletion(s.Out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(s.Out)
			}
		},
	}
}

// completeFlags completes the values of kubectl's flags as kubectl does.
func (s *shell) completeFlags(root *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{
		"namespace": s.completeNamespaces, "context": s.completeContexts,
		"color": cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		if err := root.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag does not exist, a defect here that every run would show
		}
	}
}

func (s *shell) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return s.complete(cmd, prefix, func(ctx context.Context, client *cluster.Client) ([]string, error) {
		namespaces, err := client.Namespaces(ctx, "")
		var out []string
		for i := range namespaces {
			out = append(out, namespaces[i].Name)
		}
		return out, err
	})
}

func (s *shell) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	contexts, err := s.kube.Contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	slices.Sort(contexts)
	return contexts, cobra.ShellCompDirectiveNoFileComp
}

// completePolicies completes the first argument: namespaced policies by name, cluster-wide ones with their kind.
func (s *shell) completePolicies(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.complete(cmd, prefix, policyNames)
}

func policyNames(ctx context.Context, client *cluster.Client) ([]string, error) {
	namespaced, err := client.EgressPolicies(ctx, client.Namespace)
	if err != nil {
		return nil, err
	}
	clusterWide, err := client.ClusterEgressPolicies(ctx)
	var out []string
	for _, p := range namespaced {
		out = append(out, p.GetName())
	}
	for _, p := range clusterWide {
		out = append(out, "cegp/"+p.GetName())
	}
	return out, err
}

// completeTargets also offers the pods that a policy has.
func (s *shell) completeTargets(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.complete(cmd, prefix, func(ctx context.Context, client *cluster.Client) ([]string, error) {
		out, err := policyNames(ctx, client)
		if err != nil {
			return nil, err
		}
		pods, err := client.Pods(ctx, client.Namespace, v1alpha1.LabelPolicy)
		for i := range pods {
			out = append(out, "pod/"+pods[i].Name)
		}
		return out, err
	})
}

// complete asks the API server, but not for long: somebody has pressed a key.
func (s *shell) complete(cmd *cobra.Command, prefix string, ask func(context.Context, *cluster.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	client, err := s.cluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), cluster.CompletionTimeout)
	defer cancel()
	all, err := ask(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	out := slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	return out, cobra.ShellCompDirectiveNoFileComp
}
