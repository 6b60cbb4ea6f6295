package xds

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/netproxy/netproxy/api/v1alpha1"
)

// maxOwnChains is how many domains, and how many rules, have a filter chain of their own. Beyond it they share
// sharedChains by the hash of their name: a chain costs about 8 KB of configuration and 40 KB of memory, and a change then
// also drains the others in its chain.
const (
	maxOwnChains = 24
	sharedChains = 8
)

// chainSet collects the filter chains that the matcher tree refers to, once each.
type chainSet struct {
	*builder
	kit    *filterKit
	names  map[string]string // identity to name with digest
	chains []*listenerv3.FilterChain

	sums       ruleSums
	domainSums []digest
	bucketSums map[string]digest
	shared     map[sharedBucket]string // identities, where domains share chains
}

// sharedBucket is what a chain of several domains has in common.
type sharedBucket struct {
	address bool
	number  int
}

// ruleSums digest the rules that several domains or names have in common.
type ruleSums struct {
	every     digest // all rules
	address   digest // those that match by address
	requests  digest // those that a request can meet
	byAddress digest // and of these, those that match by address
}

func newChainSet(b *builder) *chainSet {
	s := &chainSet{builder: b, kit: b.newFilterKit(), names: map[string]string{}, sums: b.plan.ruleSums(), bucketSums: map[string]digest{}, shared: map[sharedBucket]string{}}
	s.sumDomains()
	return s
}

func (p *Plan) ruleSums() ruleSums {
	start := newDigest().text(string(p.Default))
	sums := ruleSums{start, start, start, start}
	for i := range p.Rules {
		r := &p.Rules[i]
		meets := p.meetsRequests(r)
		sums.every = sums.every.rule(r)
		if r.byAddress() {
			sums.address = sums.address.rule(r)
		}
		if meets {
			sums.requests = sums.requests.rule(r)
		}
		if meets && r.byAddress() {
			sums.byAddress = sums.byAddress.rule(r)
		}
	}
	return sums
}

// put adds the chain of an identity unless it is there.
func (s *chainSet) put(identity string, sum digest, build func(name string) *listenerv3.FilterChain) string {
	if name, ok := s.names[identity]; ok {
		return name
	}
	name := identity + "#" + sum.String()
	s.names[identity] = name
	s.chains = append(s.chains, build(name))
	return name
}

// The identities of chains, which Evaluate names too.
const (
	chainPlaintext   = "http"
	chainDenyDefault = "deny/default"
	chainTCPDefault  = "tcp/default"
)

func (p *Plan) interceptIdentity(d int) string {
	kind := "intercept/"
	if p.Domains[d].Addr.IsValid() {
		kind = "intercept-address/"
	}
	return kind + own(p.Domains[d].String(), len(p.Domains))
}

func (p *Plan) denyIdentity(r *Rule) string { return "deny/" + own(r.Name, len(p.Rules)) }

func (p *Plan) addressIdentity(r *Rule) string { return "tcp/" + own(r.Name, len(p.Rules)) }

// nameIdentity is one per rule and atom, so that a name that goes takes only its own connections along.
func (p *Plan) nameIdentity(r *Rule, a *atom, c portClass) string {
	if p.passedNames > maxOwnChains {
		return "tls/" + string(r.way(a)) + "/" + bucket(a.text()) + c.suffix()
	}
	return "tls/" + r.Name + "/" + a.text() + c.suffix()
}

// countPassedNames counts the names that rules let through unseen.
func (p *Plan) countPassedNames() int {
	n := 0
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Action == v1alpha1.ActionAllow && len(r.HTTP) == 0 {
			n += len(r.Names)
		}
	}
	return n
}

// own is the last part of an identity: the thing itself, or the bucket that it shares.
func own(text string, count int) string {
	if count <= maxOwnChains {
		return text
	}
	return bucket(text)
}

func bucket(text string) string { return fmt.Sprintf("~%02d", bucketNumber(text)) }

func bucketNumber(text string) int { return int(uint64(newDigest().text(text)) % sharedChains) }

// interceptIdentity is the plan's, kept for the thousands of domains that share one.
func (s *chainSet) interceptIdentity(d int) string {
	if len(s.plan.Domains) <= maxOwnChains {
		return s.plan.interceptIdentity(d)
	}
	domain := &s.plan.Domains[d]
	key := sharedBucket{domain.Addr.IsValid(), bucketNumber(domain.String())}
	if s.shared[key] == "" {
		s.shared[key] = s.plan.interceptIdentity(d)
	}
	return s.shared[key]
}

func (s *chainSet) plaintext() string {
	return s.put(chainPlaintext, s.sums.requests, s.kit.plaintextChain)
}

func (s *chainSet) intercept(d int) string {
	domain := &s.plan.Domains[d]
	identity := s.interceptIdentity(d)
	sum := s.domainSums[d]
	if len(s.plan.Domains) > maxOwnChains {
		sum = s.bucketSums[identity]
	}
	return s.put(identity, sum, func(name string) *listenerv3.FilterChain { return s.kit.interceptChain(name, domain) })
}

// sumDomains digests, for each domain, everything that decides about its requests.
func (s *chainSet) sumDomains() {
	s.domainSums = make([]digest, len(s.plan.Domains))
	for d := range s.plan.Domains {
		s.domainSums[d] = s.domainSum(d)
	}
	for i := range s.plan.names.atoms {
		a := &s.plan.names.atoms[i]
		if a.domain < 0 {
			continue
		}
		sum := s.domainSums[a.domain].text(a.text())
		for _, r := range a.rules {
			sum = sum.rule(&s.plan.Rules[r])
		}
		s.domainSums[a.domain] = sum
	}
	for d := range s.plan.Domains {
		id := s.interceptIdentity(d)
		s.bucketSums[id] = s.bucketSums[id].number(uint64(s.domainSums[d]))
	}
}

func (s *chainSet) domainSum(d int) digest {
	sum := s.sums.byAddress.text(s.plan.Domains[d].String())
	for _, h := range s.plan.Domains[d].Headers {
		sum = sum.text(h.Name).text(h.Value)
		if c := h.Credential; c != nil {
			sum = sum.text(c.Secret).text(c.Key).text(c.Prefix)
		}
	}
	return sum
}

func (s *chainSet) deny(r *Rule) string {
	return s.put(s.plan.denyIdentity(r), newDigest(), func(name string) *listenerv3.FilterChain { return s.kit.closeChain(name, s.label(r)) })
}

// label is the rule that a chain's audit records name; a shared chain cannot know it.
func (s *chainSet) label(r *Rule) string {
	if len(s.plan.Rules) > maxOwnChains {
		return ""
	}
	return r.Name
}

func (s *chainSet) denyDefault() string {
	return s.put(chainDenyDefault, newDigest(), func(name string) *listenerv3.FilterChain { return s.kit.closeChain(name, "default") })
}

func (s *chainSet) allowDefault() string {
	return s.put(chainTCPDefault, s.sums.every, func(name string) *listenerv3.FilterChain {
		return s.kit.addressChain(name, passage{rule: "default"})
	})
}

// allowAddress's digest has the rules that deny addresses: a new one must end what it forbids.
func (s *chainSet) allowAddress(r *Rule) string {
	sum := s.denials(r).rule(r)
	if len(s.plan.Rules) > maxOwnChains {
		sum = s.sums.address
	}
	return s.put(s.plan.addressIdentity(r), sum, func(name string) *listenerv3.FilterChain {
		return s.kit.addressChain(name, passage{rule: s.label(r), audit: s.audited(r)})
	})
}

// denials digests the deny rules that can take something away from an allow rule.
func (s *chainSet) denials(r *Rule) digest {
	sum := newDigest()
	for _, d := range s.plan.addressRules(v1alpha1.ActionDeny) {
		if d.Ports.intersects(r.Ports) && (d.AnyDst || r.AnyDst || len(r.Names) > 0 || overlap(d.Prefixes, r.Prefixes)) {
			sum = sum.rule(d)
		}
	}
	return sum
}

func (s *chainSet) allowName(r *Rule, a *atom, c portClass) string {
	sum, rule := s.atomSum(r, a), r.Name
	if s.plan.passedNames > maxOwnChains {
		sum, rule = s.sums.every, ""
	}
	return s.put(s.plan.nameIdentity(r, a, c), sum, func(name string) *listenerv3.FilterChain {
		return s.kit.nameChain(name, passage{rule: rule, way: r.way(a), class: c, audit: s.audited(r)})
	})
}

func (s *chainSet) atomSum(r *Rule, a *atom) digest {
	sum := s.denials(r).ports(r.Ports).text(string(r.way(a)))
	for _, d := range s.plan.atomRules(a, v1alpha1.ActionDeny) {
		sum = sum.rule(d)
	}
	return sum
}

func (s *chainSet) audited(r *Rule) auditing {
	if r.Audit {
		return auditAll
	}
	return auditDenials
}
