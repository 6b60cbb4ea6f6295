package xds

import (
	"encoding/binary"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// maxNarrow is how many names a policy can have before its routes are written as small as possible, so that a thousand
// domains fit into one Secret. It then has one shared check of Host and SNI, in CEL, instead of one per virtual host
// (430 bytes each), and one route for the paths of an alternative, with a regular expression, instead of one for each.
const maxNarrow = 256

func (p *Plan) wide() bool { return len(p.names.atoms) > maxNarrow }

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// ruleMatches are shared by all rules that ask for the same.
func (h *hostBuilder) ruleMatches(r *Rule, a *atom) []*routev3.RouteMatch {
	h.key = r.appendMatchKey(h.key[:0], a.host.Kind)
	matches, ok := h.matches[string(h.key)]
	if !ok {
		matches = h.newRuleMatches(r, a)
		h.matches[string(h.key)] = matches
	}
	return matches
}

// appendMatchKey writes everything that newRuleMatches looks at.
func (r *Rule) appendMatchKey(key []byte, kind v1alpha1.HostKind) []byte {
	text := func(s string) { key = append(binary.AppendUvarint(key, uint64(len(s))), s...) }
	number := func(n int) { key = binary.AppendUvarint(key, uint64(n)) }
	number(int(kind))
	text(string(r.Action))
	text(string(r.Resolution))
	number(len(r.Ports))
	if r.Ports == nil {
		key = append(key, '*')
	}
	for _, p := range r.Ports {
		number(int(p.First))
		number(int(p.Last))
	}
	number(len(r.HTTP))
	for i := range r.HTTP {
		m := &r.HTTP[i]
		if m.EncodedSlash == AllowEncodedSlash {
			key = append(key, '%')
		}
		number(len(m.Methods))
		for _, method := range m.Methods {
			text(method)
		}
		number(len(m.Paths))
		for _, p := range m.Paths {
			text(string(p.Kind))
			text(p.Text)
		}
	}
	return key
}

func (b *builder) newRuleMatches(r *Rule, a *atom) []*routev3.RouteMatch {
	matches := b.requestMatches(r)
	for _, match := range matches {
		if a.host.Kind == v1alpha1.HostAny {
			match.Headers = append(match.Headers, headerMatcher(":authority", hostText(*a.host)))
		}
		match.FilterState = b.connectionMatch(r)
	}
	return matches
}

func (b *builder) requestMatches(r *Rule) []*routev3.RouteMatch {
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
	var out []*routev3.RouteMatch
	switch {
	case len(m.Paths) == 0:
		out = []*routev3.RouteMatch{anyPath()}
	case len(m.Paths) > 1 && b.plan.wide():
		out = []*routev3.RouteMatch{anyOfPaths(m.Paths)}
	default:
		for _, p := range m.Paths {
			out = append(out, onePath(p))
		}
	}
	for _, match := range out {
		match.Headers = b.slashHeaders(action, m.EncodedSlash)
		if len(m.Methods) > 0 {
			match.Headers = append(match.Headers, methodMatcher(m.Methods))
		}
	}
	return out
}

func onePath(p Path) *routev3.RouteMatch {
	switch {
	case p.pattern != nil:
		return pathPattern(p.pattern.String())
	case p.Kind == PathExact:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: p.Text}}
	default:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: p.Text}}
	}
}

func anyOfPaths(paths []Path) *routev3.RouteMatch {
	parts := make([]string, len(paths))
	for i, p := range paths {
		switch {
		case p.pattern != nil:
			parts[i] = p.pattern.String()
		case p.Kind == PathExact:
			parts[i] = literal(p.Text)
		default:
			parts[i] = literal(p.Text) + ".*"
		}
	}
	return pathPattern(strings.Join(parts, "|"))
}

// pathPattern has to match the whole path, without its query.
func pathPattern(pattern string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matchv3.RegexMatcher{Regex: pattern}}}
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
