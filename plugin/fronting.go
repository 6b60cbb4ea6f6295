package plugin

import "github.com/spf13/cobra"

func newFrontingCommand(s *shell) *cobra.Command { return &cobra.Command{Use: "test-fronting"} }
func newDemoCommand(s *shell) *cobra.Command     { return &cobra.Command{Use: "demo"} }
