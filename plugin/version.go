package plugin

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// versionOutput is what `version -o json` prints.
type versionOutput struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

func newVersionCommand(s *shell) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: noArguments,
		Example: "  kubectl netproxy version -o json",
		RunE: func(*cobra.Command, []string) error {
			out := versionOutput{s.version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if format != "" {
				return format.print(s.Out, out)
			}
			fmt.Fprintln(s.Out, "kubectl-netproxy "+out.Version)
			return nil
		},
	}
	addOutputFlag(cmd, &format)
	return cmd
}
