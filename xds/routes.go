package xds

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// routeConfig is the one table of hosts and their rules, for interception and plaintext alike. Rules become routes:
// Envoy finds the virtual host by hash, and the first route that matches decides. A new table does not touch running
// streams; chains whose domains changed are drained by the listener.
const routeConfig = "requests"

// Routes are named after their rule. A rule that allows an address has none of its own, and TRACE to a domain with
// injected headers is denied by none.
const (
	routeAddress = "by-address"
	ruleTrace    = "trace"
)

// Virtual hosts are named after their atom; the prefix says that TLS to it is intercepted (see replies).
const interceptedHost = "i:"

// routeConfiguration is the table without its virtual hosts.
func (b *builder) routeConfiguration() *routev3.RouteConfiguration {
	config := &routev3.RouteConfiguration{
		Name:                     routeConfig,
		IgnorePortInHostMatching: true,
		RequestHeadersToRemove:   []string{"x-forwarded-proto"}, // Envoy adds it
		ClusterSpecifierPlugins:  b.clusterChoices(),
	}
	b.check(config)
	return config
}

// eachVirtualHost gives one virtual host after the other. What it gives is built anew for the next: a policy can have
// thousands.
func (b *builder) eachVirtualHost(yield func(*routev3.VirtualHost)) {
	h := &hostBuilder{builder: b, host: &routev3.VirtualHost{}, matches: map[string][]*routev3.RouteMatch{}, checked: map[*routev3.RouteMatch]bool{}, fastRoutes: b.plan.hasFastRoutes()}
	for i := range b.plan.names.atoms {
		h.atom(&b.plan.names.atoms[i])
		h.check()
		yield(h.host)
	}
	for i := range b.plan.Domains {
		if d := &b.plan.Domains[i]; d.Addr.IsValid() {
			h.address(addressAuthority(d.Addr), d)
			h.check()
			yield(h.host)
		}
	}
}

func (p *Plan) countVirtualHosts() int { return len(p.names.atoms) + len(p.addresses) }

// hostBuilder fills one virtual host and its routes again and again.
type hostBuilder struct {
	*builder
	host   *routev3.VirtualHost
	routes []*routev3.Route // all that there have been, to be used again

	matches    map[string][]*routev3.RouteMatch
	key        []byte
	traceMatch *routev3.RouteMatch
	checked    map[*routev3.RouteMatch]bool
	fastRoutes bool
}

// check asks Envoy's own validation. Routes with the same match differ in their names at most, and are validated once.
func (h *hostBuilder) check() {
	routes := h.host.Routes
	for _, route := range routes {
		if !h.checked[route.Match] {
			h.checked[route.Match] = true
			h.builder.check(route)
		}
	}
	h.host.Routes = nil
	h.builder.check(h.host)
	h.host.Routes = routes
}

func (h *hostBuilder) begin(name, authority string) {
	h.host.Name, h.host.Domains, h.host.Routes = name, append(h.host.Domains[:0], authority), h.host.Routes[:0]
	h.host.TypedPerFilterConfig = nil
}

// route is the next route of the host, empty.
func (h *hostBuilder) route(match *routev3.RouteMatch) *routev3.Route {
	n := len(h.host.Routes)
	if n == len(h.routes) {
		h.routes = append(h.routes, &routev3.Route{})
	}
	route := h.routes[n]
	route.Reset()
	route.Match = match
	h.host.Routes = append(h.host.Routes, route)
	return route
}

// atom is deny, allow, then what the address allows.
func (h *hostBuilder) atom(a *atom) {
	text := a.text()
	if a.domain < 0 {
		h.begin(text, text)
	} else {
		d := &h.plan.Domains[a.domain]
		h.begin(interceptedHost+text, text)
		h.injection(d)
		if a.host.Kind == v1alpha1.HostExact && !h.plan.wide() {
			h.perFilter(filterHandshake, h.any(h.onlyHandshakeFor(a.host.Name)))
		}
		h.trace(d)
	}
	for _, i := range a.rules {
		if r := &h.plan.Rules[i]; r.Action == v1alpha1.ActionDeny {
			h.rule(r, a)
		}
	}
	for _, i := range a.rules {
		if r := &h.plan.Rules[i]; r.Action == v1alpha1.ActionAllow {
			h.rule(r, a)
		}
	}
	h.fallback()
}

// address is the virtual host of an intercepted address: no rule names it, so its requests are judged by address.
func (h *hostBuilder) address(authority string, d *Domain) {
	h.begin(interceptedHost+authority, authority)
	h.injection(d)
	h.trace(d)
	h.fallback()
}

// trace: an upstream that supports TRACE would send the injected headers back.
func (h *hostBuilder) trace(d *Domain) {
	if len(d.Headers) == 0 {
		return
	}
	if h.traceMatch == nil {
		h.traceMatch = interceptedTrace()
	}
	h.deny(h.route(h.traceMatch), ruleTrace)
}

func interceptedTrace() *routev3.RouteMatch {
	match := anyPath()
	match.Headers = []*routev3.HeaderMatcher{methodMatcher([]string{methodTrace})}
	match.FilterState = []*matchv3.FilterStateMatcher{stateIs(stateTransport, transportTLS)}
	return match
}

// rule makes one route for each alternative of the rule's http.
func (h *hostBuilder) rule(r *Rule, a *atom) {
	for _, match := range h.ruleMatches(r, a) {
		if r.Action == v1alpha1.ActionDeny {
			h.deny(h.route(match), r.Name)
			continue
		}
		if h.fast(r, a) {
			h.fastRoute(r, a, match)
		}
		h.allow(h.route(match), r, h.passOn(r.way(a)))
	}
}

func (h *hostBuilder) allow(route *routev3.Route, r *Rule, action *routev3.Route_Route) {
	route.Name, route.Action = r.Name, action
	if r.Audit {
		route.Metadata = auditMark()
	}
}

func (b *builder) deny(route *routev3.Route, rule string) {
	if b.forbidden == nil {
		b.forbidden = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: statusForbidden}}
	}
	route.Name, route.Action = rule, b.forbidden
}

// passOn has no timeout: how long a request takes is between workload and upstream.
func (b *builder) passOn(way v1alpha1.Resolution) *routev3.Route_Route {
	if b.actions[way] == nil {
		b.actions[way] = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_ClusterSpecifierPlugin{ClusterSpecifierPlugin: string(way)},
			Timeout:          durationpb.New(0),
		}}
	}
	return b.actions[way]
}

// fallback is for requests whose name no rule decides about: the address may.
func (h *hostBuilder) fallback() {
	if h.anyMatch == nil {
		h.anyMatch = anyPath()
	}
	route := h.route(h.anyMatch)
	if !h.plan.hasFallback() {
		h.deny(route, policyDefault)
		return
	}
	route.Name = routeAddress
	if len(h.plan.requestRules(v1alpha1.ActionAllow)) == 0 {
		route.Name = policyDefault
	}
	route.Action = h.passOn(v1alpha1.ResolutionClient)
	route.TypedPerFilterConfig = map[string]*anypb.Any{filterAddress: h.switchedOn()}
}

func (p *Plan) auditsAddresses() bool {
	for _, r := range p.requestRules(v1alpha1.ActionAllow) {
		if r.Audit {
			return true
		}
	}
	return false
}
