package xds

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"strings"

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

func (b *builder) routeConfigurations() []proto.Message {
	config := &routev3.RouteConfiguration{
		Name:                     routeConfig,
		IgnorePortInHostMatching: true,
		RequestHeadersToRemove:   []string{"x-forwarded-proto"}, // Envoy adds it
		ClusterSpecifierPlugins:  b.clusterChoices(),
	}
	for i := range b.plan.names.atoms {
		config.VirtualHosts = append(config.VirtualHosts, b.virtualHost(&b.plan.names.atoms[i]))
	}
	for i := range b.plan.Domains {
		if d := &b.plan.Domains[i]; d.Addr.IsValid() {
			config.VirtualHosts = append(config.VirtualHosts, b.addressHost(addressAuthority(d.Addr), d))
		}
	}
	b.check(config)
	return []proto.Message{config}
}

func (b *builder) virtualHost(a *atom) *routev3.VirtualHost {
	host := &routev3.VirtualHost{Name: a.text(), Domains: []string{a.text()}}
	var d *Domain
	if a.domain >= 0 {
		d = &b.plan.Domains[a.domain]
		host.Name = interceptedHost + host.Name
		host.TypedPerFilterConfig = b.injection(d)
		if a.host.Kind == v1alpha1.HostExact {
			host.TypedPerFilterConfig[filterHandshake] = b.any(b.onlyHandshakeFor(a.host.Name))
		}
	}
	host.Routes = b.atomRoutes(a, d)
	return host
}

// addressHost is the virtual host of an intercepted address: no rule names it, so its requests are judged by address.
func (b *builder) addressHost(authority string, d *Domain) *routev3.VirtualHost {
	return &routev3.VirtualHost{
		Name: interceptedHost + authority, Domains: []string{authority},
		TypedPerFilterConfig: b.injection(d),
		Routes:               append(b.traceRoutes(d), b.fallback()),
	}
}

// atomRoutes is deny, allow, then what the address allows.
func (b *builder) atomRoutes(a *atom, d *Domain) []*routev3.Route {
	routes := b.traceRoutes(d)
	for _, r := range b.plan.atomRules(a, v1alpha1.ActionDeny) {
		routes = append(routes, b.ruleRoutes(r, a, func(route *routev3.Route) { denyRoute(route, r.Name) })...)
	}
	for _, r := range b.plan.atomRules(a, v1alpha1.ActionAllow) {
		routes = append(routes, b.ruleRoutes(r, a, func(route *routev3.Route) { b.allowRoute(route, r, r.way(a)) })...)
	}
	return append(routes, b.fallback())
}

// traceRoutes: an upstream that supports TRACE would send the injected headers back.
func (b *builder) traceRoutes(d *Domain) []*routev3.Route {
	if d == nil || len(d.Headers) == 0 {
		return nil
	}
	route := &routev3.Route{Match: anyPath()}
	route.Match.Headers = []*routev3.HeaderMatcher{methodMatcher([]string{methodTrace})}
	route.Match.FilterState = []*matchv3.FilterStateMatcher{{
		Key:     stateTransport,
		Matcher: &matchv3.FilterStateMatcher_StringMatch{StringMatch: &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: transportTLS}}},
	}}
	denyRoute(route, ruleTrace)
	return []*routev3.Route{route}
}

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// ruleRoutes makes one route for each alternative of the rule's http and its paths.
func (b *builder) ruleRoutes(r *Rule, a *atom, decide func(*routev3.Route)) []*routev3.Route {
	var routes []*routev3.Route
	for _, match := range b.ruleMatches(r) {
		if a.host.Kind == v1alpha1.HostAny {
			match.Headers = append(match.Headers, headerMatcher(":authority", hostText(a.host)))
		}
		match.FilterState = b.connectionMatch(r)
		route := &routev3.Route{Match: match}
		decide(route)
		routes = append(routes, route)
	}
	return routes
}

func (b *builder) ruleMatches(r *Rule) []*routev3.RouteMatch {
	if len(r.HTTP) == 0 {
		match := anyPath()
		match.Headers = b.slashHeaders(r.Action, RefuseEncodedSlash)
		return []*routev3.RouteMatch{match}
	}
	var out []*routev3.RouteMatch
	for i := range r.HTTP {
		out = append(out, b.httpMatches(&r.HTTP[i], r.Action)...)
	}
	return out
}

func (b *builder) httpMatches(m *HTTPMatch, action v1alpha1.Action) []*routev3.RouteMatch {
	headers := b.slashHeaders(action, m.EncodedSlash)
	if len(m.Methods) > 0 {
		headers = append(headers, methodMatcher(m.Methods))
	}
	if len(m.Paths) == 0 {
		match := anyPath()
		match.Headers = headers
		return []*routev3.RouteMatch{match}
	}
	out := make([]*routev3.RouteMatch, len(m.Paths))
	for i, p := range m.Paths {
		out[i] = &routev3.RouteMatch{Headers: headers}
		switch {
		case p.pattern != nil:
			out[i].PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matchv3.RegexMatcher{Regex: p.pattern.String()}}
		case p.Kind == PathExact:
			out[i].PathSpecifier = &routev3.RouteMatch_Path{Path: p.Text}
		default:
			out[i].PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: p.Text}
		}
	}
	return out
}

// slashHeaders keep encoded slashes away from rules that do not take them. Until a rule does, Envoy refuses them itself.
func (b *builder) slashHeaders(action v1alpha1.Action, slash EncodedSlash) []*routev3.HeaderMatcher {
	switch {
	case action != v1alpha1.ActionAllow || !b.plan.allowsEncodedSlashes():
		return nil
	case slash == AllowEncodedSlash:
		return []*routev3.HeaderMatcher{pathWithout(climbingPattern)}
	default:
		return []*routev3.HeaderMatcher{noEncodedSlash()}
	}
}

// connectionMatch is the part of a rule that the connection decides: its port, and for a rule that keeps the client's
// address that it is not a special one.
func (b *builder) connectionMatch(r *Rule) []*matchv3.FilterStateMatcher {
	var out []*matchv3.FilterStateMatcher
	if r.Ports != nil {
		out = append(out, &matchv3.FilterStateMatcher{Key: statePort, Matcher: &matchv3.FilterStateMatcher_StringMatch{StringMatch: portText(r.Ports)}})
	}
	if r.Resolution == v1alpha1.ResolutionClient && r.Action == v1alpha1.ActionAllow {
		out = append(out, &matchv3.FilterStateMatcher{Key: stateAddress, Matcher: &matchv3.FilterStateMatcher_AddressMatch{
			AddressMatch: &matchv3.AddressMatcher{Ranges: xdsRanges(b.plan.special), InvertMatch: true},
		}})
	}
	return out
}

func portText(p PortSet) *matchv3.StringMatcher {
	if len(p) == 1 && p[0].First == p[0].Last {
		return &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: p.pattern()}}
	}
	return regex(p.pattern())
}

func denyRoute(route *routev3.Route, rule string) {
	route.Name = rule
	route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 403}}
}

func (b *builder) allowRoute(route *routev3.Route, r *Rule, way v1alpha1.Resolution) {
	route.Name = r.Name
	if r.Audit {
		route.Metadata = auditMark()
	}
	route.Action = b.passOn(way)
}

// passOn has no timeout: how long a request takes is between workload and upstream.
func (b *builder) passOn(way v1alpha1.Resolution) *routev3.Route_Route {
	if b.actions[string(way)] == nil {
		b.actions[string(way)] = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_ClusterSpecifierPlugin{ClusterSpecifierPlugin: string(way)},
			Timeout:          durationpb.New(0),
		}}
	}
	return b.actions[string(way)]
}

// fallback is for requests whose name no rule decides about: the address may.
func (b *builder) fallback() *routev3.Route {
	if b.lastRoute == nil {
		b.lastRoute = &routev3.Route{Match: anyPath()}
		b.decideByAddress(b.lastRoute)
	}
	return b.lastRoute
}

func (b *builder) decideByAddress(route *routev3.Route) {
	if !b.plan.hasFallback() {
		denyRoute(route, policyDefault)
		return
	}
	route.Name = routeAddress
	if len(b.plan.requestRules(v1alpha1.ActionAllow)) == 0 {
		route.Name = policyDefault
	}
	route.Action = b.passOn(v1alpha1.ResolutionClient)
	route.TypedPerFilterConfig = map[string]*anypb.Any{filterAddress: b.switchedOn()}
}

func (p *Plan) auditsAddresses() bool {
	for _, r := range p.requestRules(v1alpha1.ActionAllow) {
		if r.Audit {
			return true
		}
	}
	return false
}

// switchedOn enables a filter that is disabled in its chain.
func (b *builder) switchedOn() *anypb.Any {
	if b.filterSwitch == nil {
		b.filterSwitch = b.any(&routev3.FilterConfig{Config: &anypb.Any{}})
	}
	return b.filterSwitch
}

// injection switches on what puts a domain's headers into its requests. Plaintext chains have no such filters.
func (b *builder) injection(d *Domain) map[string]*anypb.Any {
	out := map[string]*anypb.Any{}
	var literal []*mutationv3.HeaderMutation
	for _, h := range d.Headers {
		if h.Credential != nil {
			out[filterInject+h.Credential.id()] = b.switchedOn()
			continue
		}
		literal = append(literal, setHeader(h))
	}
	if literal != nil {
		out[filterHeaders] = b.any(&headermutationv3.HeaderMutationPerRoute{Mutations: &headermutationv3.Mutations{RequestMutations: literal}})
	}
	return out
}

// setHeader: % begins a format in Envoy.
func setHeader(h Header) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}
}
