package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/linediff"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

type applyOptions struct {
	Filenames []string
	DryRun    string
	Force     bool
	Wait      bool
	Restart   bool
	Timeout   time.Duration
}

const applyLong = `Apply policies, and follow until their pods run them.

Policies are judged with the code of the webhook before anything is sent; then what changes, and for which pods, is shown, and
each is applied as a server-side apply. After that the command waits until every pod's Envoy runs the new revision. A pod that
was created before its policy has no proxy: --restart rolls its workload, else the command for it is printed.

Exit codes: 0 every pod runs the policy, 2 one cannot (it says why), 1 anything else: bad input, no answer, time is up.`

const applyExample = `  kubectl netproxy apply -f policy.yaml
  kubectl netproxy apply -f policies/ --restart --timeout 5m

  # What would change?
  kubectl netproxy apply -f policy.yaml --dry-run=server
  kubectl netproxy diff -f policy.yaml`

func newApplyCommand(s *shell) *cobra.Command {
	o := &applyOptions{}
	cmd := &cobra.Command{
		Use: "apply -f FILENAME", Short: "Apply policies, and follow until their pods run them", Long: applyLong, Example: applyExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDryRun(o.DryRun); err != nil {
				return err
			}
			return o.run(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	addPolicyFiles(cmd, &o.Filenames)
	flags.StringVar(&o.DryRun, "dry-run", "none", "none, client (judge only) or server (let the API server judge too)")
	flags.BoolVar(&o.Force, "force-conflicts", false, "take over fields that somebody else owns")
	flags.BoolVar(&o.Wait, "wait", true, "follow until the pods run the policy")
	flags.BoolVar(&o.Restart, "restart", false, "restart the workloads of pods that have no proxy")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to follow")
	return cmd
}

func addPolicyFiles(cmd *cobra.Command, names *[]string) {
	cmd.Flags().StringSliceVarP(names, "filename", "f", nil, "file or directory with policies; - is standard input (repeatable)")
}

const diffLong = `Show what apply would change, as the API server answers: defaults and what others own included.

Exit codes: 0 nothing, 2 something, 1 the question could not be asked.`

func newDiffCommand(s *shell) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "diff -f FILENAME", Short: "Show what apply would change", Long: diffLong, Args: noArguments,
		Example: "  kubectl netproxy diff -f policy.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			changes, err := loadChanges(cmd.Context(), s, names, cluster.TakeFields)
			if err != nil {
				return err
			}
			found := false
			for _, c := range changes {
				found = found || len(c.diff) > 0
				fmt.Fprint(s.Out, colorDiff(s.painter(), c.diff))
			}
			if found {
				return exitCode(ExitBad)
			}
			return nil
		},
	}
	addPolicyFiles(cmd, &names)
	return cmd
}

// change is one policy that is to be applied.
type change struct {
	policy  v1alpha1.Policy
	current v1alpha1.Policy // nil if it is new
	diff    []string
}

// loadPolicies reads and judges; nothing is sent before all are good.
func loadPolicies(s *shell, names []string) ([]v1alpha1.Policy, error) {
	if err := (&policyOptions{Filenames: names}).validate(); err != nil {
		return nil, err
	}
	all, err := readObjects(s.In, names)
	if err != nil {
		return nil, err
	}
	if len(all.Policies) == 0 {
		return nil, fmt.Errorf("no %s and no %s in %s", v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy, all.where)
	}
	var errs []error
	for _, p := range all.Policies {
		warnings, invalid := v1alpha1.ValidatePolicy(p)
		if len(invalid) > 0 {
			errs = append(errs, listOf(fmt.Sprintf("%s in %s is invalid", policyTitle(p), all.where), errors.Join(asErrors(invalid)...)))
			continue
		}
		for _, w := range warnings {
			s.advised.first(w.String())
			s.warn("%s: %s", policyTitle(p), w)
		}
	}
	for _, other := range all.Secrets {
		s.warn("%s is left alone: kubectl apply writes Secrets", identity("Secret", other.Namespace, other.Name))
	}
	for _, other := range all.ConfigMaps {
		s.warn("%s is left alone: kubectl apply writes ConfigMaps", identity("ConfigMap", other.Namespace, other.Name))
	}
	return all.Policies, errors.Join(errs...)
}

func loadChanges(ctx context.Context, s *shell, names []string, conflicts cluster.Conflicts) ([]*change, error) {
	policies, err := loadPolicies(s, names)
	if err != nil {
		return nil, err
	}
	client, err := s.cluster()
	if err != nil {
		return nil, err
	}
	var out []*change
	for _, p := range policies {
		if err := place(s, client, p); err != nil {
			return nil, err
		}
		c, err := compareWithCluster(ctx, client, p, conflicts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", policyTitle(p), err)
		}
		out = append(out, c)
	}
	return out, nil
}

// place gives a policy the namespace that is meant, as kubectl does.
func place(s *shell, client *cluster.Client, p v1alpha1.Policy) error {
	switch has := p.GetNamespace(); {
	case kindOf(p) == v1alpha1.KindClusterEgressPolicy:
		p.SetNamespace("")
	case has == "":
		p.SetNamespace(client.Namespace)
	case s.namespaceFlag() != "" && s.namespaceFlag() != has:
		return fmt.Errorf("%s is in namespace %s, and -n says %s: leave one out", policyTitle(p), has, s.namespaceFlag())
	}
	return nil
}

func compareWithCluster(ctx context.Context, client *cluster.Client, p v1alpha1.Policy, conflicts cluster.Conflicts) (*change, error) {
	current, err := client.Policy(ctx, kindOf(p), p.GetNamespace(), p.GetName())
	if err != nil && !cluster.IsNotFound(err) {
		return nil, err
	}
	before := ""
	if current != nil {
		if errs := v1alpha1.ValidateUpdate(p.PolicySpec(), current.PolicySpec(), field.NewPath("spec")); len(errs) > 0 {
			return nil, listOf("cannot become what the file says", errors.Join(asErrors(errs)...))
		}
		if before, err = policyYAML(current); err != nil {
			return nil, err
		}
	}
	answer, err := client.Apply(ctx, p, cluster.ApplyOptions{DryRun: cluster.Validate, Conflicts: conflicts})
	if err != nil {
		return nil, err
	}
	after, err := policyYAML(answer)
	if err != nil {
		return nil, err
	}
	return &change{policy: p, current: current, diff: linediff.Unified(policyTitle(p)+" (cluster)", policyTitle(p)+" (file)", before, after)}, nil
}

func (o *applyOptions) conflicts() cluster.Conflicts {
	if o.Force {
		return cluster.TakeFields
	}
	return cluster.Refuse
}

func (o *applyOptions) run(ctx context.Context, s *shell) error {
	if o.DryRun == "client" {
		policies, err := loadPolicies(s, o.Filenames)
		for _, p := range policies {
			fmt.Fprintf(s.Out, "%s.%s/%s is valid (dry run)\n", resourceName(p), v1alpha1.Group, p.GetName())
		}
		return err
	}
	changes, err := loadChanges(ctx, s, o.Filenames, o.conflicts())
	if err != nil {
		return err
	}
	applied, err := o.apply(ctx, s, changes)
	if err != nil || o.DryRun == "server" || !o.Wait {
		return err
	}
	return o.follow(ctx, s, applied)
}

func (o *applyOptions) apply(ctx context.Context, s *shell, changes []*change) ([]v1alpha1.Policy, error) {
	client, err := s.cluster()
	if err != nil {
		return nil, err
	}
	var out []v1alpha1.Policy
	for _, c := range changes {
		if err := s.announce(ctx, client, c); err != nil {
			return nil, err
		}
		done := map[bool]string{true: "created", false: "configured"}[c.current == nil]
		switch {
		case c.current != nil && len(c.diff) == 0:
			done = "unchanged"
		case o.DryRun == "server":
		default:
			stored, err := client.Apply(ctx, c.policy, cluster.ApplyOptions{Conflicts: o.conflicts()})
			if err != nil {
				return nil, fmt.Errorf("%s: %w%s", policyTitle(c.policy), err, alreadyDone(out))
			}
			c.policy = stored
		}
		if o.DryRun == "server" {
			done += " (server dry run)"
		}
		fmt.Fprintf(s.Out, "%s.%s/%s %s\n", resourceName(c.policy), v1alpha1.Group, c.policy.GetName(), done)
		out = append(out, c.policy)
	}
	return out, nil
}

// alreadyDone says what stands when a later policy fails.
func alreadyDone(applied []v1alpha1.Policy) string {
	if len(applied) == 0 {
		return ""
	}
	var names []string
	for _, p := range applied {
		names = append(names, policyTitle(p))
	}
	return "\nApplied before that: " + strings.Join(names, ", ")
}

// announce shows what changes for which pods.
func (s *shell) announce(ctx context.Context, client *cluster.Client, c *change) error {
	u := s.errorPainter()
	if c.current != nil {
		fmt.Fprint(s.ErrOut, colorDiff(u, c.diff))
	}
	if len(c.diff) == 0 {
		return nil
	}
	pods, err := newViewer(client).pods(ctx, c.policy)
	if err != nil {
		return err
	}
	with, without := 0, 0
	for i := range pods {
		if pods[i].Labels[v1alpha1.LabelPolicy] != "" {
			with++
		} else {
			without++
		}
	}
	fmt.Fprintf(s.ErrOut, "%s concerns %d running pods with a proxy and %d without\n", u.Paint(ui.Strong, policyTitle(c.policy)), with, without)
	return nil
}
