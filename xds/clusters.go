package xds

import (
	"net/netip"
	"slices"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	specifierv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/matcher/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// transport is how a cluster speaks to the upstream.
type transport string

const (
	transportTCP       transport = "tcp"       // as the workload sent it: raw, or plaintext HTTP
	transportUpstream  transport = "tls"       // verified TLS, HTTP/2 where it is offered
	transportWebSocket transport = "tls.http1" // HTTP/1.1 only: an upgrade does not exist in HTTP/2
)

// closedCluster has no endpoints; what is sent there is closed.
const closedCluster = "closed"

// clusterName has no class for the client's address, which has been judged before, whatever the port.
func clusterName(way v1alpha1.Resolution, t transport, c portClass) string {
	if way == v1alpha1.ResolutionClient {
		return string(way) + "." + string(t)
	}
	return string(way) + "." + string(t) + c.suffix()
}

// ways are the ways that rules of the policy use; the client's address is always there, for rules with cidrs.
func (p *Plan) ways() []v1alpha1.Resolution {
	ways := []v1alpha1.Resolution{v1alpha1.ResolutionClient}
	for i := range p.names.atoms {
		a := &p.names.atoms[i]
		for _, r := range a.rules {
			if way := p.Rules[r].way(a); p.Rules[r].Action == v1alpha1.ActionAllow && !slices.Contains(ways, way) {
				ways = append(ways, way)
			}
		}
		if len(ways) == 3 {
			break
		}
	}
	slices.Sort(ways)
	return ways
}

func (b *builder) clusters() []proto.Message {
	out := []proto.Message{&clusterv3.Cluster{
		Name:                 closedCluster,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: closedCluster},
	}}
	for _, way := range b.plan.ways() {
		for _, c := range b.plan.wayClasses(way) {
			out = append(out, b.cluster(way, transportTCP, c))
			if b.plan.interceptsOver(way) {
				out = append(out, b.cluster(way, transportUpstream, c), b.cluster(way, transportWebSocket, c))
			}
		}
	}
	for _, m := range out {
		b.check(m.(validated))
	}
	return out
}

// interceptsOver says whether intercepted requests can take the way: each cluster with TLS holds the public roots.
func (p *Plan) interceptsOver(way v1alpha1.Resolution) bool {
	if len(p.Domains) == 0 {
		return false
	}
	return way != v1alpha1.ResolutionClient || p.hasFallback() || p.keepsClientAddress()
}

// wayClasses: see clusterName.
func (p *Plan) wayClasses(way v1alpha1.Resolution) []portClass {
	if way == v1alpha1.ResolutionClient {
		return []portClass{{}}
	}
	return p.classes
}

func (b *builder) cluster(way v1alpha1.Resolution, t transport, c portClass) *clusterv3.Cluster {
	out := &clusterv3.Cluster{
		Name:           clusterName(way, t, c),
		LbPolicy:       clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout: durationpb.New(connectTimeout),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": b.any(httpOptions(t)),
		},
	}
	if way == v1alpha1.ResolutionClient {
		out.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	} else {
		out.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy",
			TypedConfig: b.any(&dfpv3.ClusterConfig{
				ClusterImplementationSpecifier: &dfpv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: b.dnsCache(way, c)},
				AllowInsecureClusterOptions:    t == transportTCP,
			}),
		}}
	}
	if t != transportTCP {
		out.TransportSocket = b.transportSocket(b.upstreamTLS())
		out.Metadata = b.upstreamCAsMark()
	}
	return out
}

// upstreamCAsMark: the file's content is not part of the cluster; its digest is, so that new CAs are read. The roots of
// the pod do not change.
func (b *builder) upstreamCAsMark() *corev3.Metadata {
	if len(b.cfg.UpstreamCAs) == 0 {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"netproxy": {Fields: map[string]*structpb.Value{
		"upstreamCAs": structpb.NewStringValue(newDigest().bytes(b.cfg.UpstreamCAs).String()),
	}}}}
}

// upstreamCAs is the file that upstream certificates are verified against.
func (b *builder) upstreamCAs() string {
	if len(b.cfg.UpstreamCAs) == 0 {
		return b.cfg.Paths.Roots + "/" + RootsFile
	}
	return b.cfg.Paths.file(InTLS, UpstreamCAsFile)
}

// upstreamTLS verifies against the public and the additional CAs. Envoy's client speaks TLS 1.2 until told otherwise.
func (b *builder) upstreamTLS() *tlsv3.UpstreamTlsContext {
	return &tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: b.upstreamCAs()}},
		}},
	}}
}

func httpOptions(t transport) *upstreamhttpv3.HttpProtocolOptions {
	options := &upstreamhttpv3.HttpProtocolOptions{}
	switch t {
	case transportTCP:
		options.UpstreamProtocolOptions = &upstreamhttpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
			},
		}
		return options
	case transportUpstream:
		options.UpstreamProtocolOptions = &upstreamhttpv3.HttpProtocolOptions_AutoConfig{
			AutoConfig: &upstreamhttpv3.HttpProtocolOptions_AutoHttpConfig{},
		}
	case transportWebSocket:
		options.UpstreamProtocolOptions = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{},
			},
		}
	}
	options.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: true, AutoSanValidation: true}
	return options
}

// cacheKey is what a DNS cache depends on.
type cacheKey struct {
	way   v1alpha1.Resolution
	class int
}

func (b *builder) dnsCache(way v1alpha1.Resolution, c portClass) *dnscachev3.DnsCacheConfig {
	key := cacheKey{way, c.index}
	if b.caches[key] == nil {
		b.caches[key] = b.newDNSCache(way, c)
	}
	return b.caches[key]
}

// newDNSCache resolves a name and refuses addresses. Envoy refuses a second configuration under the name of a cache that is
// still in use, so the name has a digest of it.
func (b *builder) newDNSCache(way v1alpha1.Resolution, c portClass) *dnscachev3.DnsCacheConfig {
	refused := slices.Concat(b.plan.special, c.denied)
	if way == v1alpha1.ResolutionPublic {
		refused = append(refused, b.plan.private...)
	}
	return &dnscachev3.DnsCacheConfig{
		Name:                  string(way) + c.suffix() + "#" + b.cacheSum(refused).String(),
		DnsLookupFamily:       lookupFamily(b.cfg.Families),
		ResolvedAddressFilter: &matchv3.AddressMatcher{Ranges: xdsRanges(refused)},
		TypedDnsResolverConfig: &corev3.TypedExtensionConfig{
			Name:        "envoy.network.dns_resolver.cares",
			TypedConfig: b.any(b.resolver()),
		},
		// DisableDnsRefreshOnFailure is no way: with it one failure ties a name to the address that it had for as long as Envoy runs.
		DnsFailureRefreshRate: &clusterv3.Cluster_RefreshRate{BaseInterval: durationpb.New(firstRetry), MaxInterval: durationpb.New(lastRetry)},
	}
}

// After a failure Envoy asks for a name again while it is in use: first after firstRetry at most, and at last as often as for an
// answer that is valid for a moment. In between a name that has no address yet fails without a question.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Second
)

func (b *builder) cacheSum(refused []netip.Prefix) digest {
	sum := newDigest().text(string(b.cfg.Families)).text(firstRetry.String()).text(lastRetry.String())
	for _, p := range refused {
		sum = sum.prefix(p)
	}
	for _, addr := range b.cfg.Resolvers {
		sum = sum.text(addr.String())
	}
	return sum
}

// resolver asks the pod's resolvers for the name as it stands: search domains would turn one name into another.
func (b *builder) resolver() *caresv3.CaresDnsResolverConfig {
	config := &caresv3.CaresDnsResolverConfig{DnsResolverOptions: &corev3.DnsResolverOptions{NoDefaultSearchDomain: true}}
	for _, addr := range b.cfg.Resolvers {
		config.Resolvers = append(config.Resolvers, socketAddress(addr.Addr().String(), uint32(addr.Port())))
	}
	return config
}

func lookupFamily(f Families) clusterv3.Cluster_DnsLookupFamily {
	switch f {
	case IPv4Only:
		return clusterv3.Cluster_V4_ONLY
	case IPv6Only:
		return clusterv3.Cluster_V6_ONLY
	default:
		return clusterv3.Cluster_ALL
	}
}

func xdsRanges(prefixes []netip.Prefix) []*xdscorev3.CidrRange {
	out := make([]*xdscorev3.CidrRange, len(prefixes))
	for i, p := range prefixes {
		out[i] = &xdscorev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}
	}
	return out
}

// clusterChoices are, for each way, how a request finds its cluster: TLS only for intercepted connections, HTTP/1.1 for
// WebSockets, and the class of the port.
func (b *builder) clusterChoices() []*routev3.ClusterSpecifierPlugin {
	port := b.extension("port", &networkv3.FilterStateInput{Key: statePort})
	intercepted := b.extension("transport", &networkv3.FilterStateInput{Key: stateTransport})
	upgrade := b.extension("upgrade", &matchv3.HttpRequestHeaderMatchInput{HeaderName: "upgrade"})
	var out []*routev3.ClusterSpecifierPlugin
	for _, way := range b.plan.ways() {
		classes := b.plan.wayClasses(way)
		choice := b.classChoice(way, classes[len(classes)-1], intercepted, upgrade)
		if len(classes) > 1 {
			var fields []*branch
			for _, c := range classes {
				fields = append(fields, when(single(port, matchesWhole(c.ports.pattern())), nested(b.classChoice(way, c, intercepted, upgrade))))
			}
			choice = list(fields)
		}
		out = append(out, &routev3.ClusterSpecifierPlugin{Extension: &corev3.TypedExtensionConfig{
			Name: string(way), TypedConfig: b.any(&specifierv3.MatcherClusterSpecifier{ClusterMatcher: choice}),
		}})
	}
	return out
}

func (b *builder) classChoice(way v1alpha1.Resolution, c portClass, intercepted, upgrade *xdscorev3.TypedExtensionConfig) *matcher {
	plain := b.toCluster(clusterName(way, transportTCP, c))
	if !b.plan.interceptsOver(way) {
		return &matcher{OnNoMatch: plain}
	}
	websocket := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "websocket"}, IgnoreCase: true}
	overTLS := list([]*branch{when(single(upgrade, websocket), b.toCluster(clusterName(way, transportWebSocket, c)))})
	overTLS.OnNoMatch = b.toCluster(clusterName(way, transportUpstream, c))
	m := exactMap(intercepted, map[string]*onMatch{transportTLS: nested(overTLS)})
	m.OnNoMatch = plain
	return m
}

func (b *builder) toCluster(name string) *onMatch {
	return &onMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: b.extension("cluster", &specifierv3.ClusterAction{Cluster: name})}}
}
