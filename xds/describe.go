package xds

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Description is a plan for people: what happens to a connection, in the order of the matcher tree. Names of chains come
// from the functions that render them.
type Description struct {
	Listeners []ListenerDescription
	// InspectTimeout is how long a client may take to show what it speaks.
	InspectTimeout time.Duration
	// Opaque are ports where only addresses count and nothing is inspected.
	Opaque PortSet
	// Special are reached by rules with addresses only.
	Special []netip.Prefix
	Steps   []StepDescription
}

// ListenerDescription is one listener of redirected connections.
type ListenerDescription struct {
	Name    string
	Address netip.AddrPort
}

// Step is a kind of connection.
type Step string

// The steps, in the order in which a connection is judged.
const (
	StepInterceptedName    Step = "intercepted-name"
	StepPlaintext          Step = "plaintext"
	StepDeniedAddress      Step = "denied-address"
	StepPassedName         Step = "passed-name"
	StepInterceptedAddress Step = "intercepted-address"
	StepAllowedAddress     Step = "allowed-address"
	StepDefault            Step = "default"
)

// StepDescription is a step that can happen with this plan.
type StepDescription struct {
	Step    Step
	Entries []EntryDescription
}

// EntryDescription leads connections to a filter chain: all of a domain, or what a rule decides by name or address.
type EntryDescription struct {
	Chain  string
	Match  string  // the name, or nothing where the rule says it
	Domain *Domain // intercepted; nil otherwise
	Rule   *Rule   // nil where no rule decides: intercepted, plaintext, default
	// Way is how allowed connections leave; empty if they do not.
	Way v1alpha1.Resolution
	// Hosts decide about the requests inside, the most specific first.
	Hosts []HostDescription
}

// HostDescription is a set of names and the rules that decide about their requests: the first that matches does.
type HostDescription struct {
	Host  string
	Rules []RuleUse
}

// RuleUse is a rule at work for a host.
type RuleUse struct {
	Rule *Rule
	Way  v1alpha1.Resolution // of an allow rule
}

// Describe computes what Render would make of the listeners.
func (p *Plan) Describe(families Families) Description {
	b := newBuilder(p, Config{Paths: SidecarPaths(), Families: families})
	chains := newChainSet(b)
	d := newDescriber(&selector{builder: b, in: b.inputs(), chains: chains})
	d.tree() // makes the chains, in the order of the rendering
	out := Description{InspectTimeout: inspectTimeout, Opaque: p.opaque, Special: slices.Clone(p.special)}
	for _, f := range b.families() {
		out.Listeners = append(out.Listeners, ListenerDescription{
			"redirect." + f.name, netip.AddrPortFrom(netip.MustParseAddr(f.loopback), p.ProxyPort),
		})
	}
	for _, step := range []StepDescription{
		{StepInterceptedName, d.intercepted(domainIsName)},
		{StepPlaintext, []EntryDescription{{Chain: chainName(chains.plaintext()), Hosts: d.known()}}},
		{StepDeniedAddress, d.byAddress(v1alpha1.ActionDeny)},
		{StepPassedName, d.passed()},
		{StepInterceptedAddress, d.intercepted(domainIsAddress)},
		{StepAllowedAddress, d.byAddress(v1alpha1.ActionAllow)},
		{StepDefault, d.byDefault()},
	} {
		if len(step.Entries) > 0 {
			out.Steps = append(out.Steps, step)
		}
	}
	return out
}

// AddressRules lists the rules of an action that can match by the address that the client connects to, in the order in
// which they are tried.
func (p *Plan) AddressRules(action v1alpha1.Action) []*Rule { return p.addressRules(action) }

// chainName is the name without the digest of what the chain holds.
func chainName(name string) string {
	name, _, _ = strings.Cut(name, "#")
	return name
}

func everyAtom(*atom) bool { return true }

type describer struct {
	*selector
	sorted   []*atom         // the most specific first
	byDomain map[int][]*atom // likewise
}

func newDescriber(s *selector) describer {
	d := describer{s, s.atomsBySpecificity(everyAtom), map[int][]*atom{}}
	for _, a := range d.sorted {
		if a.domain >= 0 {
			d.byDomain[a.domain] = append(d.byDomain[a.domain], a)
		}
	}
	return d
}

func domainIsName(d *Domain) bool    { return !d.Addr.IsValid() }
func domainIsAddress(d *Domain) bool { return d.Addr.IsValid() }

func (d describer) intercepted(want func(*Domain) bool) []EntryDescription {
	var out []EntryDescription
	for i := range d.plan.Domains {
		domain := &d.plan.Domains[i]
		if want(domain) {
			out = append(out, EntryDescription{
				Chain: chainName(d.chains.intercept(i)), Match: domain.String(), Domain: domain, Hosts: d.hosts(d.byDomain[i]),
			})
		}
	}
	return out
}

// known are the names that a rule knows.
func (d describer) known() []HostDescription {
	var atoms []*atom
	for _, a := range d.sorted {
		if len(a.rules) > 0 {
			atoms = append(atoms, a)
		}
	}
	return d.hosts(atoms)
}

func (d describer) hosts(atoms []*atom) []HostDescription {
	var out []HostDescription
	for _, a := range atoms {
		host := HostDescription{Host: a.text()}
		for _, action := range []v1alpha1.Action{v1alpha1.ActionDeny, v1alpha1.ActionAllow} {
			for _, r := range d.plan.atomRules(a, action) {
				host.Rules = append(host.Rules, RuleUse{r, wayOf(r, a)})
			}
		}
		out = append(out, host)
	}
	return out
}

func wayOf(r *Rule, a *atom) v1alpha1.Resolution {
	if r.Action != v1alpha1.ActionAllow {
		return ""
	}
	return r.way(a)
}

func (d describer) byAddress(action v1alpha1.Action) []EntryDescription {
	var out []EntryDescription
	for _, r := range d.plan.addressRules(action) {
		switch {
		case action == v1alpha1.ActionDeny:
			out = append(out, EntryDescription{Chain: chainName(d.chains.deny(r)), Rule: r})
		case len(r.HTTP) == 0:
			out = append(out, EntryDescription{Chain: chainName(d.chains.allowAddress(r)), Rule: r, Way: v1alpha1.ResolutionClient})
		}
	}
	return out
}

// passed are the decisions about TLS that stays closed to the proxy.
func (d describer) passed() []EntryDescription {
	var out []EntryDescription
	for _, a := range d.sorted {
		if !passesTLS(a) || len(d.atomDecisions(a)) == 0 {
			continue
		}
		for _, r := range d.plan.atomRules(a, v1alpha1.ActionDeny) {
			out = append(out, EntryDescription{Chain: chainName(d.chains.deny(r)), Match: a.text(), Rule: r})
		}
		for _, r := range d.plan.atomRules(a, v1alpha1.ActionAllow) {
			if len(r.HTTP) == 0 {
				out = append(out, d.passedBy(r, a)...)
			}
		}
	}
	return out
}

func (d describer) passedBy(r *Rule, a *atom) []EntryDescription {
	var out []EntryDescription
	for _, c := range d.plan.classes {
		if ports := r.Ports.intersection(c.ports); ports != nil && len(ports) == 0 {
			continue
		}
		out = append(out, EntryDescription{Chain: chainName(d.chains.allowName(r, a, c)), Match: a.text(), Rule: r, Way: r.way(a)})
	}
	return out
}

// byDefault is also what keeps special addresses closed under a default of Allow.
func (d describer) byDefault() []EntryDescription {
	out := []EntryDescription{{Chain: chainName(d.chains.denyDefault())}}
	if d.plan.Default == v1alpha1.ActionAllow {
		out = append(out, EntryDescription{Chain: chainName(d.chains.allowDefault()), Way: v1alpha1.ResolutionClient})
	}
	return out
}
