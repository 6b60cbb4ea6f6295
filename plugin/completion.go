package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
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
