package xds

import (
	"net/netip"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	ipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Filter chains are chosen by a tree of matchers and not by FilterChainMatch, because a chain's own match is part of the
// chain: adding a domain to it would drain the connections of all its domains. Only inputs and matchers that Envoy calls
// stable are used: exact maps, string matchers and the CIDR input matcher; not its IP and server-name trees, which are
// work in progress. A nested matcher without a match lets the search go on behind it.
type (
	matcher   = matcherv3.Matcher
	onMatch   = matcherv3.Matcher_OnMatch
	predicate = matcherv3.Matcher_MatcherList_Predicate
	branch    = matcherv3.Matcher_MatcherList_FieldMatcher
)

// inputs are what a connection can be matched by.
type inputs struct {
	transport, application, name, address, port *xdscorev3.TypedExtensionConfig
}

func (k *packer) inputs() inputs {
	return inputs{
		transport:   k.extension("transport", &networkv3.TransportProtocolInput{}),
		application: k.extension("application", &networkv3.ApplicationProtocolInput{}),
		name:        k.extension("sni", &networkv3.ServerNameInput{}),
		address:     k.extension("address", &networkv3.DestinationIPInput{}),
		port:        k.extension("port", &networkv3.DestinationPortInput{}),
	}
}

func (k *packer) extension(name string, m validated) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: k.any(m)}
}

// chain is the action that hands a connection to a filter chain.
func (k *packer) chain(name string) *onMatch {
	return &onMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{
		Name: "to", TypedConfig: k.plainAny(wrapperspb.String(name)),
	}}}
}

func nested(m *matcher) *onMatch {
	return &onMatch{OnMatch: &matcherv3.Matcher_OnMatch_Matcher{Matcher: m}}
}

func exactMap(input *xdscorev3.TypedExtensionConfig, entries map[string]*onMatch) *matcher {
	return &matcher{MatcherType: &matcherv3.Matcher_MatcherTree_{MatcherTree: &matcherv3.Matcher_MatcherTree{
		Input: input,
		TreeType: &matcherv3.Matcher_MatcherTree_ExactMatchMap{
			ExactMatchMap: &matcherv3.Matcher_MatcherTree_MatchMap{Map: entries},
		},
	}}}
}

func list(fields []*branch) *matcher {
	return &matcher{MatcherType: &matcherv3.Matcher_MatcherList_{MatcherList: &matcherv3.Matcher_MatcherList{Matchers: fields}}}
}

func when(p *predicate, on *onMatch) *branch { return &branch{Predicate: p, OnMatch: on} }

func single(input *xdscorev3.TypedExtensionConfig, s *matcherv3.StringMatcher) *predicate {
	return &predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input:   input,
			Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: s},
		},
	}}
}

func equals(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

func endsWith(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: text}}
}

// matchesWhole is a regular expression; Envoy requires it to match the whole text.
func matchesWhole(pattern string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{
		EngineType: &matcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &matcherv3.RegexMatcher_GoogleRE2{}},
		Regex:      pattern,
	}}}
}

// all needs at least two predicates in Envoy; fewer are given as they are.
func all(predicates ...*predicate) *predicate {
	if len(predicates) == 1 {
		return predicates[0]
	}
	return &predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &matcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: predicates},
	}}
}

func not(p *predicate) *predicate {
	return &predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: p}}
}

// inPrefixes matches the destination address.
func (k *packer) inPrefixes(in inputs, prefixes []netip.Prefix) *predicate {
	return &predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: in.address,
			Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
				CustomMatch: k.extension("prefixes", &ipv3.Ip{CidrRanges: cidrRanges(prefixes), StatPrefix: "netproxy"}),
			},
		},
	}}
}

func cidrRanges(prefixes []netip.Prefix) []*corev3.CidrRange {
	out := make([]*corev3.CidrRange, len(prefixes))
	for i, p := range prefixes {
		out[i] = cidrRange(p)
	}
	return out
}

func cidrRange(p netip.Prefix) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}
}
