package xds

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// selector grows the matcher tree of a listener, and names the filter chains that it needs.
type selector struct {
	*builder
	in     inputs
	chains *chainSet
}

// tree is the order of decisions for a connection:
//
//	TLS to an intercepted name          → its interception chain
//	plaintext HTTP                      → the HTTP chain
//	an address that a rule denies       → closed
//	TLS to a name that a rule knows     → closed or passed through
//	TLS to an intercepted address       → its interception chain
//	an address that a rule allows       → passed through
//	everything else                     → the default action
func (s *selector) tree() *matcher {
	tls := single(s.in.transport, equals("tls"))
	var fields []*branch
	if m := s.interceptedNames(); m != nil {
		fields = append(fields, when(tls, nested(m)))
	}
	// Behind TLS the application protocol is what the client offers by ALPN, and says nothing.
	http := all(not(tls), single(s.in.application, matchesWhole("'http/1\\.[01]'|'h2c'")))
	fields = append(fields, when(http, s.chain(s.chains.plaintext())))
	fields = append(fields, s.deniedAddresses()...)
	if m := s.passedNames(); m != nil {
		fields = append(fields, when(tls, nested(m)))
	}
	if m := s.interceptedAddresses(); m != nil {
		fields = append(fields, when(tls, nested(m)))
	}
	fields = append(fields, s.allowedAddresses()...)
	root := list(fields)
	root.OnNoMatch = s.chain(s.chains.denyDefault())
	if s.plan.Default == v1alpha1.ActionAllow {
		root.OnNoMatch = s.chain(s.chains.allowDefault())
	}
	return root
}

func (s *selector) interceptedNames() *matcher {
	if len(s.plan.Domains) > maxOwnChains {
		return s.interceptedGroups()
	}
	exact := map[string]*onMatch{}
	var wildcards []*branch
	actions := map[string]*onMatch{}
	for i := range s.plan.Domains {
		d := &s.plan.Domains[i]
		if d.Addr.IsValid() {
			continue
		}
		name := s.chains.intercept(i)
		if actions[name] == nil {
			actions[name] = s.chain(name)
		}
		if d.Wildcard {
			wildcards = append(wildcards, when(s.oneLabelBelow(d.Name), actions[name]))
			continue
		}
		s.putName(exact, d.Name, actions[name])
	}
	return mapThenList(exact, wildcards, s.in)
}

// interceptedGroups is for domains that share chains.
func (s *selector) interceptedGroups() *matcher {
	groups := nameGroups{selector: s, expected: len(s.plan.Domains) / sharedChains}
	var wildcards []*branch
	for i := range s.plan.Domains {
		d := &s.plan.Domains[i]
		if d.Addr.IsValid() {
			continue
		}
		chain := s.chains.intercept(i)
		if d.Wildcard {
			wildcards = append(wildcards, when(s.oneLabelBelow(d.Name), s.chain(chain)))
		} else {
			groups.add(chain, d.Name, func() *onMatch { return s.chain(chain) })
		}
	}
	return mapThenList(nil, append(groups.branches(), wildcards...), s.in)
}

// mapThenList is nil if both are empty.
func mapThenList(exact map[string]*onMatch, rest []*branch, in inputs) *matcher {
	switch {
	case len(exact) == 0 && len(rest) == 0:
		return nil
	case len(exact) == 0:
		return list(rest)
	}
	m := exactMap(in.name, exact)
	if len(rest) > 0 {
		m.OnNoMatch = nested(list(rest))
	}
	return m
}

// putName also takes the name with a trailing dot where the default would let it pass under that spelling.
func (s *selector) putName(entries map[string]*onMatch, name string, on *onMatch) {
	entries[name] = on
	if s.plan.Default == v1alpha1.ActionAllow {
		entries[name+"."] = on
	}
}

// dotted is the pattern of an optional trailing dot, for the same reason.
func (s *selector) dotted() string {
	if s.plan.Default == v1alpha1.ActionAllow {
		return `\.?`
	}
	return ""
}

// oneLabelBelow matches a wildcard's names, without those that are passed through.
func (s *selector) oneLabelBelow(suffix string) *predicate {
	below := single(s.in.name, matchesWhole(`[^.]+\.`+regexp.QuoteMeta(suffix)+s.dotted()))
	var passed []string
	for i := range s.plan.names.atoms {
		a := &s.plan.names.atoms[i]
		if _, parent, _ := strings.Cut(a.host.Name, "."); a.host.Kind == v1alpha1.HostExact && a.domain < 0 && parent == suffix {
			passed = append(passed, regexp.QuoteMeta(a.host.Name))
		}
	}
	if len(passed) == 0 {
		return below
	}
	return all(below, not(single(s.in.name, matchesWhole("("+strings.Join(passed, "|")+")"+s.dotted()))))
}

func (s *selector) interceptedAddresses() *matcher {
	entries := map[string]*onMatch{}
	for i, d := range s.plan.Domains { // in order: the chains are listed as they come
		if d.Addr.IsValid() {
			entries[d.Addr.String()] = s.chain(s.chains.intercept(i))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return exactMap(s.in.address, entries)
}

func (s *selector) deniedAddresses() []*branch {
	var out []*branch
	for _, r := range s.plan.addressRules(v1alpha1.ActionDeny) {
		out = append(out, when(s.ruleAddress(r), s.chain(s.chains.deny(r))))
	}
	return out
}

func (s *selector) allowedAddresses() []*branch {
	var out []*branch
	for _, r := range s.plan.addressRules(v1alpha1.ActionAllow) {
		if len(r.HTTP) == 0 {
			out = append(out, when(s.ruleAddress(r), s.chain(s.chains.allowAddress(r))))
		}
	}
	if s.plan.Default == v1alpha1.ActionAllow {
		out = append(out, when(s.inPrefixes(s.in, s.plan.special), s.chain(s.chains.denyDefault())))
	}
	return out
}

// ruleAddress matches the address and port of a rule.
func (s *selector) ruleAddress(r *Rule) *predicate {
	var parts []*predicate
	if !r.AnyDst {
		parts = append(parts, s.inPrefixes(s.in, r.Prefixes))
	}
	if r.Ports != nil || len(parts) == 0 {
		parts = append(parts, s.ports(r.Ports))
	}
	return all(parts...)
}

func (s *selector) ports(p PortSet) *predicate {
	if p == nil {
		return single(s.in.port, matchesWhole("[0-9]+"))
	}
	return single(s.in.port, matchesWhole(p.pattern()))
}

// passedNames decides about TLS that stays closed to the proxy: the most specific atom of the name first.
func (s *selector) passedNames() *matcher {
	exact := map[string]*onMatch{}
	groups := nameGroups{selector: s}
	var rest []*branch
	for _, a := range s.atomsBySpecificity(passesTLS) {
		decisions := s.atomDecisions(a)
		switch {
		case len(decisions) == 0:
		case a.host.Kind == v1alpha1.HostExact && s.plan.passedNames > maxOwnChains && groups.takes(decisionsKey(decisions)):
			groups.add(decisionsKey(decisions), a.host.Name, func() *onMatch { return s.decide(decisions) })
		case a.host.Kind == v1alpha1.HostExact:
			s.putName(exact, a.host.Name, s.decide(decisions))
		case a.host.Kind == v1alpha1.HostSuffix:
			rest = append(rest, when(s.below(a.host.Name), s.decide(decisions)))
		default:
			rest = append(rest, when(single(s.in.name, matchesWhole(visibleNamePattern+s.dotted())), s.decide(decisions)))
		}
	}
	return mapThenList(exact, append(groups.branches(), rest...), s.in)
}

func (s *selector) below(suffix string) *predicate {
	if s.dotted() == "" {
		return single(s.in.name, endsWith("."+suffix))
	}
	return single(s.in.name, matchesWhole(`.+\.`+regexp.QuoteMeta(suffix)+s.dotted()))
}

// passesTLS is false for an atom that is always intercepted.
func passesTLS(a *atom) bool { return a.domain < 0 || a.oneLabel }

func (s *selector) atomsBySpecificity(wanted func(*atom) bool) []*atom {
	var out []*atom
	for i := range s.plan.names.atoms {
		if a := &s.plan.names.atoms[i]; wanted(a) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b *atom) int {
		return cmp.Or(cmp.Compare(depth(b), depth(a)), strings.Compare(a.text(), b.text()))
	})
	return out
}

func depth(a *atom) int {
	if a.host.Kind == v1alpha1.HostAny {
		return -1
	}
	return strings.Count(a.host.Name, ".")
}

// decision is what becomes of connections on some ports.
type decision struct {
	ports PortSet
	keeps bool // the client's address, which is then not a special one
	chain string
}

// atomDecisions are those of the rules that decide about the atom's connections by name, the first that fits first.
func (s *selector) atomDecisions(a *atom) []decision {
	var out []decision
	for _, r := range s.plan.atomRules(a, v1alpha1.ActionDeny) {
		out = append(out, decision{ports: r.Ports, chain: s.chains.deny(r)})
	}
	for _, r := range s.plan.atomRules(a, v1alpha1.ActionAllow) {
		if len(r.HTTP) == 0 {
			out = append(out, s.allowName(r, a)...)
		}
	}
	return out
}

// allowName splits a rule where the addresses that its names may have depend on the port.
func (s *selector) allowName(r *Rule, a *atom) []decision {
	var out []decision
	for _, c := range s.plan.classes {
		ports := r.Ports.intersection(c.ports)
		if ports != nil && len(ports) == 0 {
			continue
		}
		out = append(out, decision{ports, r.Resolution == v1alpha1.ResolutionClient, s.chains.allowName(r, a, c)})
	}
	return out
}

func (s *selector) decide(decisions []decision) *onMatch {
	fields := make([]*branch, len(decisions))
	for i, d := range decisions {
		p := s.ports(d.ports)
		if d.keeps {
			p = all(p, not(s.inPrefixes(s.in, s.plan.special)))
		}
		fields[i] = when(p, s.chain(d.chain))
	}
	return nested(list(fields))
}

// decisionsKey is the same for the same decisions: the name of a chain has no space.
func decisionsKey(decisions []decision) string {
	var key strings.Builder
	for _, d := range decisions {
		fmt.Fprintf(&key, "%s %t %s ", d.ports, d.keeps, d.chain)
	}
	return key.String()
}
