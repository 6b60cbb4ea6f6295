package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

// lookEvery is how often a live view looks.
const lookEvery = time.Second

type statusOptions struct {
	AllNamespaces bool
	Watch         bool
	Output        outputFormat
}

const statusLong = `Show what is true of policies.

Without a name: a line for each policy, and below it what keeps it from being ready. With one: the policy, its Secret, the
workloads and their pods, with the revision that each Envoy really runs, the certificate that it shows, and the command that
mends what is wrong. Nothing secret is read.`

const statusExample = `  kubectl netproxy status
  kubectl netproxy status agent
  kubectl netproxy status agent -w
  kubectl netproxy status cegp/base -o json`

func newStatusCommand(s *shell) *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use: "status [POLICY]", Short: "Show policies, and down to their pods what each runs", Long: statusLong, Example: statusExample,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: s.completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args) },
	}
	cmd.Flags().BoolVarP(&o.AllNamespaces, "all-namespaces", "A", false, "the policies of all namespaces")
	cmd.Flags().BoolVarP(&o.Watch, "watch", "w", false, "go on showing it as it changes")
	addOutputFlag(cmd, &o.Output)
	return cmd
}

func (o *statusOptions) run(ctx context.Context, s *shell, args []string) error {
	if o.Watch && o.Output != "" {
		return fmt.Errorf("-w is for people: leave out -o %s, or -w", o.Output)
	}
	client, err := s.cluster()
	if err != nil {
		return err
	}
	shown := *s
	if o.Watch { // ages that tick every second would be changes
		shown.now = func() time.Time { return s.now().Truncate(time.Minute) }
	}
	text := func() (string, error) { return o.text(ctx, &shown, client, args) }
	if !o.Watch {
		out, err := text()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(s.Out, out)
		return err
	}
	live := ui.NewLive(s.Out)
	for {
		out, err := text()
		if err == nil {
			err = live.Draw(out)
		}
		if ctx.Err() != nil {
			return nil // somebody has seen enough
		}
		if err != nil {
			return err
		}
		_ = s.wait(ctx, lookEvery)
	}
}

func (o *statusOptions) text(ctx context.Context, s *shell, client *cluster.Client, args []string) (string, error) {
	policies, err := findPolicies(ctx, client, args, scopeOf(o.AllNamespaces))
	if err != nil {
		return "", err
	}
	if len(args) == 0 && o.Output == "" {
		return o.overview(s, client, policies), nil
	}
	v := newViewer(client)
	views := []*policyView{}
	for _, p := range policies {
		view, err := v.view(ctx, p)
		if err != nil {
			return "", err
		}
		views = append(views, view)
	}
	var b strings.Builder
	switch {
	case o.Output != "" && len(args) == 1:
		err = o.Output.print(&b, views[0])
	case o.Output != "":
		err = o.Output.print(&b, views)
	default:
		b.WriteString(s.painter().Tree(views[0].tree(s)))
	}
	return b.String(), err
}

// overview is the table of get, and what is wrong below it.
func (o *statusOptions) overview(s *shell, client *cluster.Client, policies []v1alpha1.Policy) string {
	if len(policies) == 0 {
		return fmt.Sprintf("No policies in namespace %s.\n", client.Namespace)
	}
	headers, rows := policyTable(s, policies, scopeOf(o.AllNamespaces), formatWide)
	out := s.painter().Table(headers, rows)
	var notes []string
	for _, p := range policies {
		for _, c := range worthSaying(p) {
			notes = append(notes, fmt.Sprintf("%s  %s: %s\n", s.painter().Mark(ui.Notice, shortName(p)), c.Reason, c.Message))
		}
	}
	if len(notes) > 0 {
		out += "\n" + strings.Join(notes, "")
	}
	return out
}

// worthSaying are the conditions that tell something.
func worthSaying(p v1alpha1.Policy) []metav1.Condition {
	bad := map[string]metav1.ConditionStatus{
		v1alpha1.ConditionReady: metav1.ConditionFalse, v1alpha1.ConditionCovered: metav1.ConditionFalse, v1alpha1.ConditionPodSecurity: metav1.ConditionFalse,
		v1alpha1.ConditionConflict: metav1.ConditionTrue, v1alpha1.ConditionWeakened: metav1.ConditionTrue, v1alpha1.ConditionDegraded: metav1.ConditionTrue,
	}
	var out []metav1.Condition
	for _, c := range p.PolicyStatus().Conditions {
		same := slices.ContainsFunc(out, func(o metav1.Condition) bool { return o.Message == c.Message })
		if bad[c.Type] == c.Status && !same {
			out = append(out, c)
		}
	}
	return out
}

// tree is the view for people.
func (v *policyView) tree(s *shell) ui.Node {
	status := v.policy.PolicyStatus()
	word := map[state]string{stateTrue: "READY", stateFalse: "NOT READY", stateUnknown: "UNKNOWN"}[v.Ready]
	root := ui.Node{Text: v.Policy + "  " + s.painter().Mark(v.Ready.tone(), word), Note: v.Reason}
	selector := metav1.FormatLabelSelector(&v.policy.PolicySpec().PodSelector)
	if selector == "<none>" {
		selector = "all pods"
	}
	root.Add(fmt.Sprintf("selects %s: %d pods, %d with a proxy, %d in sync", selector, status.Pods.Selected, status.Pods.Injected, status.Pods.InSync), "")
	for _, c := range worthSaying(v.policy) {
		root.Add(s.painter().Mark(ui.Notice, c.Type)+"  "+c.Reason+": "+c.Message, "")
	}
	if status.LeafNotAfter != nil {
		text := fmt.Sprintf("leaf valid for %s", untilText(status.LeafNotAfter, s.now()))
		if status.CANotAfter != nil {
			text += fmt.Sprintf(", CA for %s", untilText(status.CANotAfter, s.now()))
		}
		root.Add(text, "")
	}
	for _, secret := range v.Secrets {
		text := fmt.Sprintf("Secret %s/%s", secret.Namespace, secret.Name)
		note := secret.Problem
		if note == "" {
			note = fmt.Sprintf("revision %s, configuration %s", secret.Revision, secret.ConfigRevision)
		}
		root.Add(text, note)
	}
	v.addPods(s, &root)
	return root
}

func (v *policyView) addPods(s *shell, root *ui.Node) {
	byWorkload := map[string]*ui.Node{}
	var order []string
	for i := range v.Pods {
		pod := &v.Pods[i]
		key := pod.Namespace + " " + pod.Workload
		if byWorkload[key] == nil {
			title := pod.Workload
			if v.policy.GetNamespace() == "" {
				title = pod.Namespace + ": " + title
			}
			byWorkload[key] = &ui.Node{Text: title}
			order = append(order, key)
		}
		byWorkload[key].Add(pod.text(s), "")
	}
	slices.Sort(order)
	for _, key := range order {
		root.Children = append(root.Children, *byWorkload[key])
	}
}

func (p *podView) text(s *shell) string {
	tone, word := p.State.look()
	text := s.painter().Mark(tone, fmt.Sprintf("%-11s", word)) + "  pod " + p.Name
	if p.Reason != "" {
		text += "  " + p.Reason
	} else if p.Revision != "" {
		text += "  runs " + p.Revision
	}
	if p.LeafNotAfter != nil {
		text += fmt.Sprintf(", leaf %s for %s", shortSerial(p.LeafSerial), untilText(&metav1.Time{Time: *p.LeafNotAfter}, s.now()))
	}
	return text
}

func (p podState) look() (tone ui.Tone, word string) {
	switch p {
	case podInSync:
		return ui.Good, "IN SYNC"
	case podStarting, podBehind, podOther, podUnreachable:
		return ui.Notice, map[podState]string{podStarting: "STARTING", podBehind: "BEHIND", podOther: "OTHER", podUnreachable: "UNREACHABLE"}[p]
	case podRejected:
		return ui.Bad, "REJECTED"
	}
	return ui.Bad, "NO PROXY"
}

// shortSerial is enough of a serial number to tell two apart.
func shortSerial(serial string) string { return serial[:min(8, len(serial))] }
