package xds

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// byAddress says whether the rule can match by the address that the client connects to.
func (r *Rule) byAddress() bool { return r.AnyDst || len(r.Prefixes) > 0 }

// matchesAddress ignores the rule's http.
func (r *Rule) matchesAddress(dst netip.AddrPort) bool {
	return r.byAddress() && r.Ports.Contains(dst.Port()) && (r.AnyDst || anyContains(r.Prefixes, dst.Addr()))
}

// covers says whether the rule's http admits a request; a rule without http admits all.
func (r *Rule) covers(method string, path requestPath) bool {
	if len(r.HTTP) == 0 {
		// What an upstream makes of an encoded slash is its secret: a rule lets it through only if it says so.
		return !path.encodedSlash || r.Action != v1alpha1.ActionAllow
	}
	return slices.ContainsFunc(r.HTTP, func(m HTTPMatch) bool { return m.covers(method, path, r.Action) })
}

func (m *HTTPMatch) covers(method string, path requestPath, action v1alpha1.Action) bool {
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, method) {
		return false
	}
	// A deny rule must not be walked around by encoding, so it matches encoded slashes always.
	if path.encodedSlash && action == v1alpha1.ActionAllow && (m.EncodedSlash == RefuseEncodedSlash || path.climbs) {
		return false
	}
	return len(m.Paths) == 0 || slices.ContainsFunc(m.Paths, func(p Path) bool { return p.covers(path.text) })
}

func (p Path) covers(text string) bool {
	if p.pattern != nil {
		return p.pattern.MatchString(text)
	}
	if p.Kind == PathExact {
		return text == p.Text
	}
	return len(text) >= len(p.Text) && text[:len(p.Text)] == p.Text
}

// addressRules lists the rules of an action that can match by address, by name: Envoy's RBAC tries its policies in that
// order, and the order of rules means nothing.
func (p *Plan) addressRules(action v1alpha1.Action) []*Rule { return p.byAddress[action] }

func (p *Plan) sortAddressRules() {
	p.byAddress = map[v1alpha1.Action][]*Rule{}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.byAddress() {
			p.byAddress[r.Action] = append(p.byAddress[r.Action], r)
		}
	}
	for _, rules := range p.byAddress {
		slices.SortFunc(rules, func(a, b *Rule) int { return strings.Compare(a.Name, b.Name) })
	}
}

// atomRules lists the rules of an action that match the atom by name.
func (p *Plan) atomRules(a *atom, action v1alpha1.Action) []*Rule {
	var out []*Rule
	for _, i := range a.rules {
		if p.Rules[i].Action == action {
			out = append(out, &p.Rules[i])
		}
	}
	return out
}

// opaquePorts are the ports that rules open or close by address alone: there Envoy's inspectors are off, so that
// server-first protocols do not wait for a client that says nothing. Ports that no rule names are looked at, since what
// nobody allows is denied in any case; so a rule for a name on a new port does not change the listener.
func (p *Plan) opaquePorts() PortSet {
	seen := PortSet{}      // ports where a name or a request can matter
	byAddress := PortSet{} // ports that rules without either name
	for i := range p.Rules {
		r := &p.Rules[i]
		if len(r.Names) > 0 || len(r.HTTP) > 0 || p.opensIntercepted(r) {
			seen = seen.union(r.Ports)
			continue
		}
		byAddress = byAddress.union(r.Ports)
	}
	if p.Default == v1alpha1.ActionAllow {
		return p.opaqueByDefault(seen, byAddress)
	}
	return byAddress.intersection(seen.complement())
}

// opaqueByDefault: where everything is allowed, all ports are opaque but those that may carry something to look at. With
// interception that is every port which no rule opens explicitly.
func (p *Plan) opaqueByDefault(seen, byAddress PortSet) PortSet {
	if len(p.Domains) == 0 {
		return seen.complement()
	}
	if byAddress == nil {
		byAddress = PortSet{}
		for i := range p.Rules {
			if r := &p.Rules[i]; r.byAddress() && r.Ports != nil && len(r.HTTP) == 0 {
				byAddress = byAddress.union(r.Ports)
			}
		}
	}
	return byAddress.intersection(seen.complement())
}

// requestRules are the address rules that a request can meet: on opaque ports there are none.
func (p *Plan) requestRules(action v1alpha1.Action) []*Rule {
	return slices.DeleteFunc(slices.Clone(p.addressRules(action)), func(r *Rule) bool { return !p.meetsRequests(r) })
}

func (p *Plan) meetsRequests(r *Rule) bool { return r.Ports.intersects(p.inspected) }

// opensIntercepted says whether what the rule opens by address can be TLS to intercept: an intercepted address is among its
// own, or it opens every address and so those of the intercepted names.
func (p *Plan) opensIntercepted(r *Rule) bool {
	if r.Action != v1alpha1.ActionAllow {
		return false
	}
	if r.AnyDst {
		return len(p.Domains) > 0
	}
	for addr := range p.addresses {
		if anyContains(r.Prefixes, addr) {
			return true
		}
	}
	return false
}

// allowsEncodedSlashes says whether any rule opts in. If none does, Envoy refuses such requests before any rule.
func (p *Plan) allowsEncodedSlashes() bool { return p.takesEncodedSlashes }

func (p *Plan) anyTakesEncodedSlashes() bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool {
		return slices.ContainsFunc(r.HTTP, func(m HTTPMatch) bool { return m.EncodedSlash == AllowEncodedSlash })
	})
}

// way is how a rule's traffic leaves: through the proxy's own resolution of the name, or to the client's address.
func (r *Rule) way(a *atom) v1alpha1.Resolution {
	if r.Resolution == v1alpha1.ResolutionPublic && a.inCluster() {
		return v1alpha1.ResolutionAny
	}
	return r.Resolution
}

func (a *atom) inCluster() bool {
	if a.host.Kind == v1alpha1.HostAny {
		return false
	}
	return slices.ContainsFunc(clusterSuffixes(), func(s string) bool {
		return a.host.Name == s || v1alpha1.Host{Kind: v1alpha1.HostSuffix, Name: s}.Matches(a.host.Name)
	})
}
