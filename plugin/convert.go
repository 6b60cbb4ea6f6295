package plugin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/plugin/internal/convert"
)

type convertOptions struct {
	Filenames []string
	Selector  string
}

const convertLong = `Convert network policies of vArmor (VarmorPolicy and VarmorClusterPolicy with enforcer NetworkProxy) to netproxy's.

What has no counterpart is refused with the field that has it, and then nothing is printed. What means something a little
different here is printed as a warning: read it before you apply the result.`

const convertExample = `  # Look at it
  kubectl netproxy convert -f varmorpolicy.yaml

  # The target names a workload, so say which labels its pods have
  kubectl netproxy convert -f varmorpolicy.yaml --selector app=agent > policy.yaml

  # All policies of a cluster
  kubectl get varmorpolicies -A -o yaml | kubectl netproxy convert -f - | kubectl netproxy explain -f - --name agent`

func newConvertCommand(s *shell) *cobra.Command {
	o := &convertOptions{}
	cmd := &cobra.Command{
		Use: "convert -f FILENAME", Short: "Convert policies of vArmor", Long: convertLong, Example: convertExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := o.complete(cmd)
			if err != nil {
				return err
			}
			return o.run(s, options)
		},
	}
	cmd.Flags().StringSliceVarP(&o.Filenames, "filename", "f", nil, "file or directory with policies of vArmor; - is standard input (repeatable)")
	cmd.Flags().StringVarP(&o.Selector, "selector", "l", "", "labels of the pods, instead of what spec.target says")
	return cmd
}

func (o *convertOptions) complete(cmd *cobra.Command) (convert.Options, error) {
	if len(o.Filenames) == 0 {
		return convert.Options{}, errors.New("no policy: name a file with -f, for example -f varmorpolicy.yaml")
	}
	if !cmd.Flags().Changed("selector") {
		return convert.Options{}, nil
	}
	selector, err := metav1.ParseToLabelSelector(o.Selector)
	if err != nil {
		return convert.Options{}, fmt.Errorf("--selector %q: %w; write labels such as app=agent", o.Selector, err)
	}
	return convert.Options{Selector: selector}, nil
}

func (o *convertOptions) run(s *shell, options convert.Options) error {
	var out strings.Builder
	var errs []error
	for _, name := range o.Filenames {
		files, err := expand(name)
		if err != nil {
			return err
		}
		for _, file := range files {
			errs = append(errs, convertFile(s, file, options, &out))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if out.Len() == 0 {
		return fmt.Errorf("there is no policy in %s", strings.Join(o.Filenames, ", "))
	}
	_, err := fmt.Fprint(s.Out, out.String())
	return err
}

func convertFile(s *shell, file string, options convert.Options, out *strings.Builder) error {
	data, err := slurp(s.In, file)
	if err != nil {
		return fmt.Errorf("reading -f %s: %w", file, err)
	}
	documents, err := decode.Raw(data)
	if err != nil {
		return listOf(file+" cannot be read", err)
	}
	var errs []error
	for _, raw := range documents {
		if err := convertOne(s, raw, options, out); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

func convertOne(s *shell, raw []byte, options convert.Options, out *strings.Builder) error {
	c, err := convert.Document(raw, options)
	if err != nil {
		return listOf("cannot be converted", err)
	}
	warnings, invalid := v1alpha1.ValidatePolicy(c.Policy)
	if len(invalid) > 0 {
		var lines []string
		for _, err := range invalid {
			lines = append(lines, withOrigin(c.Origins.Of(err.Field), err.Error()))
		}
		return problems{c.Title + " would become invalid", lines}
	}
	for _, note := range c.Notes {
		s.warn("%s: %s", c.Title, note)
	}
	for _, w := range warnings {
		s.warn("%s: %s", c.Title, withOrigin(c.Origins.Of(w.Field), w.String()))
	}
	if hasNames(c.Policy) {
		s.warn("%s: the proxy now resolves names itself and takes public addresses only; add resolution: Any to rules about private names", c.Title)
	}
	text, err := policyYAML(c.Policy)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "---\n# from %s\n%s", c.Title, text)
	return nil
}

func hasNames(p v1alpha1.Policy) bool {
	for _, rule := range p.PolicySpec().Egress.Rules {
		if len(rule.Hosts) > 0 {
			return true
		}
	}
	return false
}
