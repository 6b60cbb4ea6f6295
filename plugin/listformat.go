package plugin

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// listFormat is the value of -o of verbs that show objects of the cluster.
type listFormat string

// The formats. Empty is a table.
const (
	formatJSON listFormat = "json"
	formatYAML listFormat = "yaml"
	formatName listFormat = "name"
	formatWide listFormat = "wide"
)

// String, Set and Type make it a flag.
func (f *listFormat) String() string { return string(*f) }

// Set takes the formats.
func (f *listFormat) Set(text string) error {
	switch format := listFormat(text); format {
	case formatJSON, formatYAML, formatName, formatWide:
		*f = format
		return nil
	}
	return fmt.Errorf("%q is no format: write json, yaml, name or wide", text)
}

// Type is shown in the usage.
func (f *listFormat) Type() string { return "json|yaml|name|wide" }

func (f *listFormat) addFlag(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "json, yaml, name or wide instead of the table")
}

func (f *listFormat) structured() bool { return *f != "" && *f != formatWide }

// printPolicies writes a List, but an object as itself if it is the only one that was named.
func (f *listFormat) printPolicies(w io.Writer, policies []v1alpha1.Policy, named int) error {
	if *f == formatName {
		for _, p := range policies {
			if _, err := fmt.Fprintf(w, "%s.%s/%s\n", resourceName(p), v1alpha1.Group, p.GetName()); err != nil {
				return err
			}
		}
		return nil
	}
	format := outputFormat(*f)
	if named == 1 && len(policies) == 1 {
		return format.print(w, clean(policies[0]))
	}
	list, err := asList(policies)
	if err != nil {
		return err
	}
	return format.print(w, list)
}

// resourceName is the singular that kubectl prints.
func resourceName(p v1alpha1.Policy) string {
	if kindOf(p) == v1alpha1.KindClusterEgressPolicy {
		return "clusteregresspolicy"
	}
	return "egresspolicy"
}
