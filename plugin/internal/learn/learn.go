package learn

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
	"github.com/netproxy/netproxy/plugin/internal/compose"
	"github.com/netproxy/netproxy/xds"
)

// Options tune what is made.
type Options struct {
	// MaxPaths is how many paths of one host and method are named before directories take their place.
	MaxPaths int
	// Private are the ranges that count as private besides the built-in ones.
	Private []netip.Prefix
}

// Result is the policy, with what its reader should know.
type Result struct {
	Policy v1alpha1.Policy
	// Comments stand above rules, by their index.
	Comments map[int][]string
	// Learned is the number of records that the policy allows, Denied those that were denied when they happened and are left
	// out, Unnamed those that name nothing that a rule could have.
	Learned int
	Denied  []audit.Record
	Unnamed []audit.Record
	// Refused are records that even the new policy denies, with the reason.
	Refused []Refusal
}

// Refusal is a record that cannot be allowed.
type Refusal struct {
	Record audit.Record
	Reason string
}

// Learn makes the policy. base is the one under which the records were made: selectors, interception and deny rules are
// kept, allow rules are made anew.
func Learn(base v1alpha1.Policy, records []audit.Record, options Options) (*Result, error) {
	out := &Result{}
	var allowed []audit.Record
	for _, r := range records {
		if r.Denied() {
			out.Denied = append(out.Denied, r)
			continue
		}
		allowed = append(allowed, r)
	}
	all, unnamed := observe(allowed)
	out.Unnamed = unnamed
	if len(all) == 0 {
		return nil, errors.New("the records have no allowed traffic in them: there is nothing to learn")
	}
	for {
		b := &builder{base: base, options: options, names: map[string]bool{}}
		policy, _ := b.build(all)
		plan, err := compile(policy, options.Private)
		if err != nil {
			return nil, fmt.Errorf("the learned policy would be invalid: %w", err)
		}
		refusals, widened := replay(plan, all)
		if widened {
			continue
		}
		b.names = map[string]bool{}
		policy, comments := b.build(all) // without rules that would allow nothing
		out.Policy, out.Comments, out.Refused = policy, comments, refusals
		out.Learned = len(allowed) - len(unnamed) - len(refusals)
		return out, nil
	}
}

func compile(policy v1alpha1.Policy, private []netip.Prefix) (*xds.Plan, error) {
	if _, errs := v1alpha1.ValidatePolicy(policy); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	spec := policy.PolicySpec().DeepCopy()
	v1alpha1.SetDefaults(spec)
	return xds.Compile(xds.PolicyRef{Kind: policy.GetObjectKind().GroupVersionKind().Kind, Namespace: policy.GetNamespace(), Name: policy.GetName()}, spec, private...)
}

// replay asks the plan about every record. A name that is refused is opened one step wider, if there is one.
func replay(plan *xds.Plan, all []*seen) (refusals []Refusal, widened bool) {
	step := map[*reach]way{}
	for _, s := range all {
		bad := s.refused(plan)
		switch {
		case len(bad) == 0:
		case s.settled:
			refusals = append(refusals, bad...)
			s.hopeless = len(bad) == len(s.records)
		default:
			step[s.reach] = s.next()
		}
	}
	for r, next := range step {
		if r.way = next; next == stuck { // wider did not help: it is not about addresses
			r.way, r.settled = public, true
		}
	}
	return refusals, len(step) > 0
}

func (s *seen) refused(plan *xds.Plan) []Refusal {
	var out []Refusal
	for _, r := range s.records {
		q := r.Request()
		if q.Resolved == nil && q.Dst.Addr().IsValid() {
			q.Resolved = []netip.Addr{q.Dst.Addr()} // what the client has resolved
		}
		if v := plan.Evaluate(q); v.Verdict != xds.Allow {
			out = append(out, Refusal{r, v.Reason})
		}
	}
	return out
}

func (s *seen) next() way {
	if s.kind == raw {
		return stuck
	}
	return min(s.way+1, stuck)
}

// builder makes the rules of one attempt.
type builder struct {
	base    v1alpha1.Policy
	options Options
	names   map[string]bool
}

func (b *builder) build(all []*seen) (v1alpha1.Policy, map[int][]string) {
	policy, _ := b.base.DeepCopyObject().(v1alpha1.Policy) // DeepCopyObject keeps the type
	spec := policy.PolicySpec()
	old := spec.Egress.Rules
	spec.Egress = v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny}
	comments := map[int][]string{}
	for i := range old {
		if old[i].Action == v1alpha1.ActionDeny {
			b.names[v1alpha1.RuleName(i, &old[i])] = true
			old[i].Name = v1alpha1.RuleName(i, &old[i])
			spec.Egress.Rules = append(spec.Egress.Rules, *old[i].DeepCopy())
			comments[len(spec.Egress.Rules)-1] = []string{"kept: a deny rule of the policy"}
		}
	}
	for _, s := range all {
		if s.hopeless {
			continue
		}
		rule, comment := b.rule(s)
		if at := mergeable(spec.Egress.Rules, &rule); at >= 0 {
			spec.Egress.Rules[at].Ports = append(spec.Egress.Rules[at].Ports, rule.Ports...)
			comments[at] = append(comments[at], comment...)
			continue
		}
		rule.Name = compose.UniqueName(b.names, s.name)
		comments[len(spec.Egress.Rules)] = comment
		spec.Egress.Rules = append(spec.Egress.Rules, rule)
	}
	return policy, comments
}

// mergeable finds a rule that differs in its ports only.
func mergeable(rules []v1alpha1.Rule, rule *v1alpha1.Rule) int {
	return slices.IndexFunc(rules, func(r v1alpha1.Rule) bool {
		return r.Action == rule.Action && slices.Equal(r.Hosts, rule.Hosts) && slices.Equal(r.CIDRs, rule.CIDRs) &&
			r.Resolution == rule.Resolution && sameHTTP(r.HTTP, rule.HTTP)
	})
}

func (b *builder) rule(s *seen) (v1alpha1.Rule, []string) {
	rule := v1alpha1.Rule{Action: v1alpha1.ActionAllow, Ports: []v1alpha1.PortRange{{Port: int32(s.port)}}}
	comments := []string{s.summary()}
	switch {
	case s.kind == raw:
		rule.CIDRs = []string{s.name}
		comments = append(comments, "raw TCP shows no name: find out what this address is, and whether it stays")
	case s.way == address:
		rule.CIDRs = addresses(s.records)
		comments = append(comments, s.name+": a loopback, link-local or metadata address, which no name may have: think twice")
	default:
		rule.Hosts = []string{s.name}
		if s.way == private {
			rule.Resolution = v1alpha1.ResolutionAny
			comments = append(comments, "has private addresses")
		}
	}
	if s.kind == web {
		var collapsed map[string]int
		rule.HTTP, collapsed = matches(s.paths, b.options.MaxPaths)
		for _, dir := range slices.Sorted(maps.Keys(collapsed)) {
			comments = append(comments, fmt.Sprintf("%s stands for %d paths: narrow it if you know them", dir, collapsed[dir]))
		}
	}
	return rule, comments
}

func addresses(records []audit.Record) []string {
	found := map[string]bool{}
	for _, r := range records {
		if dst, err := netip.ParseAddrPort(r.Destination); err == nil {
			found[dst.Addr().Unmap().String()] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (s *seen) summary() string {
	what := map[kind]string{web: "request", tls: "passed-through TLS connection", raw: "connection"}[s.kind]
	if s.count > 1 {
		what += "s"
	}
	pods := slices.Sorted(maps.Keys(s.pods))
	who := strings.Join(pods, ", ")
	if len(pods) > 2 {
		who = fmt.Sprintf("%d pods", len(pods))
	}
	if s.count == 1 {
		return fmt.Sprintf("1 %s to port %d by %s, %s", what, s.port, who, s.first.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%d %s to port %d by %s, %s to %s", s.count, what, s.port, who, s.first.UTC().Format(time.RFC3339), s.last.UTC().Format(time.RFC3339))
}

func sameHTTP(a, b []v1alpha1.HTTPMatch) bool {
	return slices.EqualFunc(a, b, func(x, y v1alpha1.HTTPMatch) bool {
		return slices.Equal(x.Methods, y.Methods) && x.AllowEncodedSlashes == y.AllowEncodedSlashes && slices.EqualFunc(x.Paths, y.Paths, samePath)
	})
}

func samePath(a, b v1alpha1.PathMatch) bool {
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	return text(a.Exact) == text(b.Exact) && text(a.Prefix) == text(b.Prefix)
}
