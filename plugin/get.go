package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

type getOptions struct {
	AllNamespaces bool
	Output        listFormat
}

const getLong = `List policies, a line each: those of the namespace, and the cluster-wide ones, whose names begin with cegp/.

PODS is how many pods run the policy's revision, of those that it selects.`

const getExample = `  kubectl netproxy get
  kubectl netproxy get -A -o wide
  kubectl netproxy get agent -o yaml`

func newGetCommand(s *shell) *cobra.Command {
	o := &getOptions{}
	cmd := &cobra.Command{
		Use: "get [POLICY...]", Short: "List policies", Long: getLong, Example: getExample,
		ValidArgsFunction: s.completePolicies,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args) },
	}
	cmd.Flags().BoolVarP(&o.AllNamespaces, "all-namespaces", "A", false, "list the policies of all namespaces")
	o.Output.addFlag(cmd)
	return cmd
}

func (o *getOptions) run(ctx context.Context, s *shell, args []string) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	policies, err := findPolicies(ctx, client, args, scopeOf(o.AllNamespaces))
	if err != nil {
		return err
	}
	if o.Output.structured() {
		return o.Output.printPolicies(s.Out, policies, len(args))
	}
	if len(policies) == 0 {
		fmt.Fprintf(s.ErrOut, "No policies found in namespace %s. A first one: kubectl netproxy create policy --help\n", client.Namespace)
		return nil
	}
	headers, rows := policyTable(s, policies, scopeOf(o.AllNamespaces), o.Output)
	_, err = fmt.Fprint(s.Out, s.painter().Table(headers, rows))
	return err
}

// scope is whose policies are meant.
type scope string

const (
	ownScope scope = "namespace"
	allScope scope = "all"
)

// scopeOf is what -A says.
func scopeOf(allNamespaces bool) scope {
	return map[bool]scope{false: ownScope, true: allScope}[allNamespaces]
}

// findPolicies reads the named ones, or lists those of the namespace and the cluster-wide ones.
func findPolicies(ctx context.Context, client *cluster.Client, args []string, where scope) ([]v1alpha1.Policy, error) {
	if len(args) == 0 {
		namespace := client.Namespace
		if where == allScope {
			namespace = ""
		}
		namespaced, err := client.EgressPolicies(ctx, namespace)
		if err != nil {
			return nil, err
		}
		clusterWide, err := client.ClusterEgressPolicies(ctx)
		return append(namespaced, clusterWide...), err
	}
	if where == allScope {
		return nil, fmt.Errorf("-A lists all policies: leave out %s, or name a namespace with -n", strings.Join(args, " "))
	}
	var out []v1alpha1.Policy
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		found, err := t.policy(ctx, client)
		if err != nil {
			return nil, err
		}
		out = append(out, found)
	}
	return out, nil
}

func policyTable(s *shell, policies []v1alpha1.Policy, where scope, format listFormat) (headers []string, rows [][]string) {
	headers = []string{"NAME", "DEFAULT", "READY", "PODS", "REASON", "AGE"}
	if where == allScope {
		headers = slices.Insert(headers, 0, "NAMESPACE")
	}
	if format == formatWide {
		headers = append(headers, "REVISION", "LEAF", "CA")
	}
	u := s.painter()
	for _, p := range policies {
		row := policyRow(u, p, s.now())
		if where == allScope {
			row = slices.Insert(row, 0, cmp.Or(p.GetNamespace(), "-"))
		}
		if format == formatWide {
			status := p.PolicyStatus()
			row = append(row, cmp.Or(status.RenderedRevision, "-"), untilText(status.LeafNotAfter, s.now()), untilText(status.CANotAfter, s.now()))
		}
		rows = append(rows, row)
	}
	return headers, rows
}

func policyRow(u *ui.Renderer, p v1alpha1.Policy, now time.Time) []string {
	status := p.PolicyStatus()
	ready, reason := readiness(p)
	return []string{
		shortName(p), string(p.PolicySpec().Egress.DefaultAction), u.Mark(ready.tone(), string(ready)),
		fmt.Sprintf("%d/%d", status.Pods.InSync, status.Pods.Selected), reason, ageText(p.GetCreationTimestamp(), now),
	}
}

// shortName is what other verbs take for the policy.
func shortName(p v1alpha1.Policy) string {
	if kindOf(p) == v1alpha1.KindClusterEgressPolicy {
		return "cegp/" + p.GetName()
	}
	return p.GetName()
}

// state is a condition's status, for people.
type state string

const (
	stateTrue    state = "True"
	stateFalse   state = "False"
	stateUnknown state = "Unknown"
)

func (s state) tone() ui.Tone {
	switch s {
	case stateTrue:
		return ui.Good
	case stateFalse:
		return ui.Bad
	}
	return ui.Notice
}

// readiness is Unknown while the status is about an older spec: it would be about another policy.
func readiness(p v1alpha1.Policy) (state, string) {
	ready := meta.FindStatusCondition(p.PolicyStatus().Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return stateUnknown, "NotSeenYet"
	case p.PolicyStatus().ObservedGeneration < p.GetGeneration():
		return stateUnknown, "ChangedJustNow"
	}
	return state(ready.Status), ready.Reason
}

func ageText(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

func untilText(t *metav1.Time, now time.Time) string {
	switch {
	case t == nil:
		return "-"
	case t.Time.Before(now):
		return "expired"
	}
	return duration.HumanDuration(t.Sub(now))
}

// clean is a policy for people and files: what the API server keeps for itself is left out.
func clean(p v1alpha1.Policy) v1alpha1.Policy {
	out, ok := p.DeepCopyObject().(v1alpha1.Policy)
	if !ok {
		return p
	}
	out.SetManagedFields(nil)
	return out
}

func asList(policies []v1alpha1.Policy) (map[string]any, error) {
	items := []any{}
	for _, p := range policies {
		data, err := json.Marshal(clean(p))
		if err != nil {
			return nil, err
		}
		items = append(items, json.RawMessage(data))
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": items}, nil
}
