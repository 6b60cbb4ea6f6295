package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/learn"
	"github.com/netproxy/netproxy/plugin/internal/linediff"
	"github.com/netproxy/netproxy/webhook/inject"
)

type learnOptions struct {
	Filenames []string
	Policy    string
	Since     time.Duration
	MaxPaths  int
	rangeOptions

	private []netip.Prefix
}

const learnLong = `Make the smallest deny-by-default policy that allows what the proxies have recorded.

Start with a policy that allows and records everything, let the workload do all that it has to do, and learn:

  kubectl netproxy create policy agent --selector app=agent --default allow --audit all
  kubectl netproxy learn agent > policy.yaml

Names are exact; raw TCP shows none and becomes single addresses, each with a remark. Selectors, interception and deny rules
of the policy are kept. The YAML says above each rule what it was made from. What may be missing, and the difference to the
policy as it is, go to the error stream. Before anything is printed, every record is asked again of the new policy.

Exit codes: 0 the policy allows all that was allowed, 2 something cannot be allowed (it is named), 1 anything else.`

const learnExample = `  # From the proxies of a policy
  kubectl netproxy learn agent --since 24h > policy.yaml

  # From files, with the policy that recorded them
  kubectl netproxy learn -f audit.jsonl --policy policy.yaml

  # Then look, and apply
  kubectl netproxy explain -f policy.yaml && kubectl netproxy apply -f policy.yaml`

func newLearnCommand(s *shell) *cobra.Command {
	o := &learnOptions{}
	cmd := &cobra.Command{
		Use: "learn [POLICY] [-f FILENAME]", Short: "Make a policy from what was recorded", Long: learnLong, Example: learnExample,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: s.completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.MaxPaths < 1 {
				return fmt.Errorf("--max-paths %d: write 1 or more", o.MaxPaths)
			}
			return o.run(cmd.Context(), s, args)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&o.Filenames, "filename", "f", nil, "file with audit records, a JSON object on each line; - is standard input (repeatable)")
	flags.StringVar(&o.Policy, "policy", "", "file with the policy that recorded them (with -f)")
	flags.DurationVar(&o.Since, "since", 0, "learn only from what is not older, such as 24h")
	flags.IntVar(&o.MaxPaths, "max-paths", 16, "name so many paths of a host and method before directories take their place")
	o.addRangeFlag(flags)
	return cmd
}

func (o *learnOptions) run(ctx context.Context, s *shell, args []string) error {
	filter := &audit.Filter{}
	if o.Since > 0 {
		filter.Since = s.now().Add(-o.Since)
	}
	var c collected
	var base v1alpha1.Policy
	var err error
	switch {
	case len(o.Filenames) > 0 && len(args) > 0:
		return errors.New("a policy of the cluster and -f exclude each other: name the policy's file with --policy")
	case len(o.Filenames) > 0:
		base, err = o.fromFiles(s, filter, &c)
	case len(args) == 1:
		base, err = o.fromCluster(ctx, s, args[0], filter, &c)
	default:
		return errors.New("learn from what? write the name of a policy, or a file with audit records: -f audit.jsonl")
	}
	if err != nil {
		return err
	}
	return o.learn(s, base, &c)
}

func (o *learnOptions) fromFiles(s *shell, filter *audit.Filter, c *collected) (v1alpha1.Policy, error) {
	var base v1alpha1.Policy
	var err error
	if o.private, err = o.given(); err != nil {
		return nil, err
	}
	if o.Policy != "" {
		chosen, err := (&policyOptions{Filenames: []string{o.Policy}}).load(s)
		if err != nil {
			return nil, err
		}
		base = chosen.policy
		filter.Policy = chosen.ref().String()
	}
	if err := readLogs(s.In, o.Filenames, c.take(filter)); err != nil {
		return nil, err
	}
	if len(c.records) == 0 {
		return nil, fmt.Errorf("there is no audit record%s in %s", ofPolicy(filter.Policy), strings.Join(o.Filenames, ", "))
	}
	if base == nil {
		return guessPolicy(c.records)
	}
	return base, nil
}

func ofPolicy(name string) string {
	if name == "" {
		return ""
	}
	return " of " + name
}

// guessPolicy makes the policy that recorded from what the records say about it.
func guessPolicy(records []audit.Record) (v1alpha1.Policy, error) {
	name := records[0].Policy
	domains := map[string]bool{}
	out := &v1alpha1.EgressPolicy{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindEgressPolicy}}
	out.Spec.Egress.Rules = []v1alpha1.Rule{{Name: "record-all", Audit: true}} // unknown; not worth a remark that may be wrong
	for _, r := range records {
		if r.Policy != name {
			return nil, fmt.Errorf("the records are of several policies (%s, %s): choose one with --policy FILE", name, r.Policy)
		}
		if r.Intercepted() && !r.Denied() && r.SNI != "" {
			domains[strings.ToLower(r.SNI)] = true
		}
	}
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the records are of %s: give its file with --policy", name)
	}
	out.Namespace, out.Name = parts[1], parts[2]
	if len(domains) > 0 {
		out.Spec.MITM = &v1alpha1.MITM{}
		for domain := range domains {
			out.Spec.MITM.Domains = append(out.Spec.MITM.Domains, domain)
		}
		slices.Sort(out.Spec.MITM.Domains)
	}
	return out, nil
}

func (o *learnOptions) fromCluster(ctx context.Context, s *shell, name string, filter *audit.Filter, c *collected) (v1alpha1.Policy, error) {
	client, err := s.cluster()
	if err != nil {
		return nil, err
	}
	source, policy, err := sourceOf(ctx, client, name)
	if err != nil {
		return nil, err
	}
	if policy == nil {
		return nil, fmt.Errorf("%s: a policy is needed here, not a pod", name)
	}
	if o.private, err = o.ranges(ctx, s, client); err != nil {
		return nil, err
	}
	source.since = o.Since
	pods, err := (&stream{client: client, source: source, take: c.take(filter), trouble: s.logTrouble}).run(ctx)
	if err != nil {
		return nil, err
	}
	if err := warnOfRestarts(ctx, s, client, source); err != nil {
		return nil, err
	}
	if len(c.records) == 0 {
		return nil, fmt.Errorf("%s has recorded nothing (%d pods with a proxy): it needs the rule {name: record-all, audit: true}, and pods that do something", policyTitle(policy), pods)
	}
	return policy, nil
}

// warnOfRestarts: with a container goes its log.
func warnOfRestarts(ctx context.Context, s *shell, client *cluster.Client, source logSource) error {
	pods, err := client.Pods(ctx, source.namespace, source.selector)
	for i := range pods {
		for _, status := range pods[i].Status.InitContainerStatuses {
			if status.Name == inject.ProxyContainer && status.RestartCount > 0 {
				s.warn("the proxy of pod %s was restarted %d times: what it recorded before is missing", podKey(&pods[i]), status.RestartCount)
			}
		}
	}
	return err
}

func (o *learnOptions) learn(s *shell, base v1alpha1.Policy, c *collected) error {
	result, err := learn.Learn(base, c.records, learn.Options{MaxPaths: o.MaxPaths, Private: o.private})
	if err != nil {
		return err
	}
	text, err := policyYAML(result.Policy)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(s.Out, learnHeader(base, result, c)+withComments(text, result.Comments)); err != nil {
		return err
	}
	for _, gap := range learn.Gaps(base, c.records, c.broken) {
		s.warn("%s", gap)
	}
	if o.Policy != "" || len(o.Filenames) == 0 {
		if err := s.showDiff(base, result.Policy); err != nil {
			return err
		}
	}
	return o.refused(s, result)
}

func (o *learnOptions) refused(s *shell, result *learn.Result) error {
	fmt.Fprintf(s.ErrOut, "Asked again under the new policy, %d of %d records are allowed.\n", result.Learned, result.Learned+len(result.Refused)+len(result.Unnamed))
	for _, r := range result.Refused {
		s.warn("cannot be allowed: %s: %s", audit.Clean(r.Record.Method+" "+r.Record.URL()), r.Reason)
	}
	for _, r := range result.Unnamed {
		s.warn("cannot be written into a policy: %s", audit.Clean(r.Method+" "+r.URL()))
	}
	if len(result.Refused)+len(result.Unnamed) > 0 {
		return exitCode(ExitBad)
	}
	return nil
}

// showDiff goes to the error stream: the new policy is on the other.
func (s *shell) showDiff(from, to v1alpha1.Policy) error {
	before, err := policyYAML(from)
	if err != nil {
		return err
	}
	after, err := policyYAML(to)
	if err != nil {
		return err
	}
	fmt.Fprint(s.ErrOut, colorDiff(s.errorPainter(), linediff.Unified(policyTitle(from)+" (as it is)", policyTitle(to)+" (learned)", before, after)))
	return nil
}

func learnHeader(base v1alpha1.Policy, result *learn.Result, c *collected) string {
	first, last := c.records[0].Time, c.records[0].Time
	for _, r := range c.records {
		if r.Time.Before(first) {
			first = r.Time
		}
		if r.Time.After(last) {
			last = r.Time
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Learned from %d audit records of %s, %s to %s.\n", len(c.records), policyTitle(base), first.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
	denied := map[string]int{}
	var order []string
	for _, r := range result.Denied {
		what := audit.Clean(r.Method + " " + r.URL())
		if denied[what]++; denied[what] == 1 {
			order = append(order, what)
		}
	}
	if len(order) > 0 {
		b.WriteString("# Left out, because it was denied then:\n")
	}
	const most = 20
	for i, what := range order {
		if i == most {
			fmt.Fprintf(&b, "#   and %d more\n", len(order)-most)
			break
		}
		fmt.Fprintf(&b, "#   %s (%d times)\n", strings.TrimSpace(what), denied[what])
	}
	return b.String()
}

// withComments puts comments above the rules. In the YAML that policyYAML writes, only rules begin at this depth.
func withComments(text string, comments map[int][]string) string {
	const indent = "    "
	var b strings.Builder
	rule, inRules := -1, false
	for line := range strings.Lines(text) {
		switch {
		case line == indent+"rules:\n":
			inRules = true
		case inRules && strings.HasPrefix(line, indent+"- "):
			rule++
			for _, comment := range comments[rule] {
				b.WriteString(indent + "# " + audit.Clean(comment) + "\n")
			}
		case inRules && !strings.HasPrefix(line, indent+" "):
			inRules = false
		}
		b.WriteString(line)
	}
	return b.String()
}
