package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

type rotateOptions struct {
	what          rotated
	All           bool
	AllNamespaces bool
	DryRun        bool
	Timeout       time.Duration
}

// rotated is what is made anew.
type rotated string

const (
	rotateLeaf rotated = "leaf"
	rotateCA   rotated = "ca"
)

func (r rotated) annotation() string {
	if r == rotateCA {
		return v1alpha1.AnnotationRotateCA
	}
	return v1alpha1.AnnotationRotateLeaf
}

const rotateLong = `Make the certificates of intercepted domains anew, without a failed request and without a restart.

leaf replaces the certificate that the workloads see; ca replaces the CA that signs it, whose successor every pod trusts already.
The plan is shown, the request is written to the policy, and the pods are followed until the status port of each shows
a certificate that was issued after the request. An interrupted run goes on where it was: run it again.`

const rotateExample = `  kubectl netproxy rotate leaf agent
  kubectl netproxy rotate ca agent
  kubectl netproxy rotate leaf --all -A --dry-run`

func newRotateCommand(s *shell) *cobra.Command {
	o := &rotateOptions{}
	cmd := &cobra.Command{
		Use: "rotate leaf|ca [POLICY | --all]", Short: "Replace certificates, and prove it", Long: rotateLong, Example: rotateExample,
		DisableFlagsInUseLine: true, ValidArgs: []string{"leaf", "ca"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args[1:])
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"leaf", "ca"}, cobra.ShellCompDirectiveNoFileComp
			}
			return s.completePolicies(cmd, args[1:], prefix)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.All, "all", false, "all policies that intercept, of the namespace and cluster-wide")
	flags.BoolVarP(&o.AllNamespaces, "all-namespaces", "A", false, "with --all: of all namespaces")
	flags.BoolVar(&o.DryRun, "dry-run", false, "show the plan and do nothing")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to follow each policy")
	return cmd
}

func (o *rotateOptions) complete(args []string) error {
	switch {
	case len(args) == 0 || args[0] != "leaf" && args[0] != "ca":
		return errors.New("rotate what? write leaf or ca, for example kubectl netproxy rotate leaf agent")
	case len(args) > 2:
		return fmt.Errorf("unexpected argument %q: one policy at a time, or --all", args[2])
	case len(args) == 1 && !o.All:
		return fmt.Errorf("whose %s? write the name of a policy, or --all", args[0])
	case len(args) == 2 && o.All:
		return fmt.Errorf("--all and %s exclude each other: leave one out", args[1])
	case o.AllNamespaces && !o.All:
		return errors.New("-A goes with --all")
	}
	o.what = rotated(args[0])
	return nil
}

func (o *rotateOptions) run(ctx context.Context, s *shell, names []string) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	policies, err := findPolicies(ctx, client, names, scopeOf(o.AllNamespaces))
	if err != nil {
		return err
	}
	var plans []*rotation
	for _, p := range policies {
		if p.PolicySpec().MITM == nil {
			if !o.All {
				return fmt.Errorf("%s intercepts nothing: it has no certificates", policyTitle(p))
			}
			continue
		}
		plan, err := o.plan(ctx, s, client, p)
		if err != nil {
			return err
		}
		plans = append(plans, plan)
	}
	if len(plans) == 0 {
		return errors.New("no policy here intercepts anything: there are no certificates")
	}
	for _, plan := range plans {
		fmt.Fprint(s.ErrOut, s.errorPainter().Tree(plan.tree(s)))
	}
	if o.DryRun {
		return nil
	}
	for _, plan := range plans {
		if err := plan.execute(ctx, s.now().Add(o.Timeout)); err != nil {
			return err
		}
	}
	return nil
}
