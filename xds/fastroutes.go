package xds

import (
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// maxFastRoutes is how many routes a table can have twice: fast, and for everything else.
const maxFastRoutes = 256

// fastRoute is for what nearly all intercepted requests are, and stands before the rule's own route: the connection was made
// for exactly the Host that the request has, and no upgrade is asked for. The match says both, so that the filter which
// compares the two is off, and the cluster needs no choice. A request that differs in anything goes on to the rule's own route.
func (h *hostBuilder) fastRoute(r *Rule, a *atom, match *routev3.RouteMatch) {
	way := r.way(a)
	route := h.route(fastMatch(match, a.host.Name))
	h.allow(route, r, h.directly(way))
	if h.filterOff == nil {
		h.filterOff = h.any(&routev3.FilterConfig{Disabled: true})
	}
	route.TypedPerFilterConfig = map[string]*anypb.Any{filterHandshake: h.filterOff}
}

func fastMatch(match *routev3.RouteMatch, name string) *routev3.RouteMatch {
	out := proto.Clone(match).(*routev3.RouteMatch)
	whole := headerMatcher(":authority", &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: name}})
	upgrade := &routev3.HeaderMatcher{Name: "upgrade", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}, InvertMatch: true}
	out.Headers = append(out.Headers, whole, upgrade)
	out.FilterState = append(out.FilterState, stateIs(stateTransport, transportTLS), stateIs(stateDynamicHost, name))
	return out
}

func stateIs(key, text string) *matchv3.FilterStateMatcher {
	return &matchv3.FilterStateMatcher{Key: key, Matcher: &matchv3.FilterStateMatcher_StringMatch{
		StringMatch: &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: text}},
	}}
}

// directly is passOn for a request over intercepted TLS.
func (b *builder) directly(way v1alpha1.Resolution) *routev3.Route_Route {
	if b.direct[way] == nil {
		b.direct[way] = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterName(way, transportUpstream, b.plan.wayClasses(way)[0])},
			Timeout:          durationpb.New(0),
		}}
	}
	return b.direct[way]
}

// fast says whether the rule's requests to the atom have routes of this kind: their cluster must not depend on the port.
func (h *hostBuilder) fast(r *Rule, a *atom) bool {
	return h.fastRoutes && h.plan.canBeFast(a) && len(h.plan.wayClasses(r.way(a))) == 1
}

// canBeFast: of several names it is not known which one the Host must be.
func (p *Plan) canBeFast(a *atom) bool { return a.domain >= 0 && a.host.Kind == v1alpha1.HostExact }

func (p *Plan) hasFastRoutes() bool {
	if p.wide() {
		return false
	}
	n := 0
	for i := range p.names.atoms {
		if a := &p.names.atoms[i]; p.canBeFast(a) {
			for _, r := range p.atomRules(a, v1alpha1.ActionAllow) {
				n += r.alternatives()
			}
		}
	}
	return n <= maxFastRoutes
}

// alternatives is how many routes the rule makes.
func (r *Rule) alternatives() int {
	n := 0
	for m := range slices.Values(r.HTTP) {
		n += max(1, len(m.Paths))
	}
	return max(1, n)
}
