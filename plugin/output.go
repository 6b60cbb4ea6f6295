package plugin

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// outputFormat is the value of -o; empty is text for people.
type outputFormat string

// String, Set and Type make it a flag.
func (f *outputFormat) String() string { return string(*f) }

// Set takes json and yaml.
func (f *outputFormat) Set(text string) error {
	switch text {
	case "json", "yaml":
		*f = outputFormat(text)
		return nil
	}
	return fmt.Errorf("%q is no format: write json or yaml", text)
}

// Type is shown in the usage.
func (f *outputFormat) Type() string { return "json|yaml" }

func addOutputFlag(cmd *cobra.Command, format *outputFormat) {
	cmd.Flags().VarP(format, "output", "o", "json or yaml instead of text")
}

func (f outputFormat) print(w io.Writer, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	if f == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encoding the output: %w", err)
		}
		_, err = w.Write(data)
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}
