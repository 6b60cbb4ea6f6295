package plugin

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newOptionsCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use: "options", Short: "List the flags that every verb takes", Args: noArguments,
		Example: "  kubectl netproxy options",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(s.Out, "Every verb takes these flags, after its name:\n\n%s", cmd.Root().PersistentFlags().FlagUsages())
			return err
		},
	}
}

// usage keeps the flags of kubectl out of every help text, as kubectl does.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.Runnable() {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	} else {
		fmt.Fprintf(&b, "Usage:\n  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	writeCommands(&b, cmd)
	if flags := cmd.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", flags.FlagUsages())
	}
	fmt.Fprintf(&b, "\nUse \"%s options\" for the flags that every verb takes (-n, --context, --color ...).\n", cmd.Root().CommandPath())
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "Use \"%s COMMAND --help\" for more about a verb.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

// writeCommands lists the verbs by group.
func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	groups := cmd.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, group := range groups {
		fmt.Fprintf(b, "\n%s:\n", group.Title)
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.GroupID == group.ID {
				fmt.Fprintf(b, "  %-14s %s\n", sub.Name(), sub.Short)
			}
		}
	}
}

// The groups of verbs, in the order of help.
const (
	groupPolicy  = "policy"
	groupWatch   = "watch"
	groupCluster = "cluster"
	groupOther   = "other"
)

func groups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupPolicy, Title: "Write and try policies"},
		{ID: groupWatch, Title: "See what happens"},
		{ID: groupCluster, Title: "Run netproxy"},
		{ID: groupOther, Title: "Other"},
	}
}

// grouped puts verbs into a group.
func grouped(id string, cmds ...*cobra.Command) []*cobra.Command {
	for _, cmd := range cmds {
		cmd.GroupID = id
	}
	return cmds
}
