package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	setstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	netstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Filter state that a connection carries to its requests.
const (
	stateAddress   = "netproxy.address"   // the address that the client connected to
	stateTransport = "netproxy.transport" // transportTLS for intercepted requests

	// statePort is the port that the client connected to. It also tells Envoy's dynamic forward proxy which port to use;
	// without it, that takes 443 or 80.
	statePort = "envoy.upstream.dynamic_port"
	// stateDynamicHost tells it which name to resolve: that of the handshake, whatever port the Host has.
	stateDynamicHost = "envoy.upstream.dynamic_host"

	transportTLS        = "tls"
	transportTLSAddress = "tls to an address" // an address has no name to resolve
)

// filterKit builds filter chains. What several chains share is built once.
type filterKit struct {
	*builder
	tls   *corev3.TransportSocket
	plain *listenerv3.Filter // the HTTP connection manager of plaintext
	// mitm are those of interception, by name and by address, where domains share chains.
	mitm, mitmAddress *listenerv3.Filter
	states            map[string]*listenerv3.Filter // by transport, what connections remember
}

func (b *builder) newFilterKit() *filterKit {
	k := &filterKit{builder: b, states: map[string]*listenerv3.Filter{}}
	if len(b.plan.Domains) > 0 {
		k.tls = b.transportSocket(b.downstreamTLS())
	}
	return k
}

func (b *builder) transportSocket(m validated) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(m)}}
}

// downstreamTLS names the leaf by SDS: certificate files in the listener itself would never be read again.
func (b *builder) downstreamTLS() *tlsv3.DownstreamTlsContext {
	return &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		AlpnProtocols: []string{"h2", "http/1.1"},
		TlsParams:     &tlsv3.TlsParameters{EcdhCurves: keyExchanges()},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{
			Name: leafSecret, SdsConfig: b.configFile(LeafSecretFile),
		}},
	}}
}

// keyExchanges are Envoy's own, in another order. The connection is between two processes of one pod, and nobody can record
// it for a later quantum computer: ML-KEM, which costs 8 % of the CPU of a new connection, is for clients that know nothing
// else. Connections to upstreams keep Envoy's order.
func keyExchanges() []string { return []string{"X25519", "P-256", "X25519MLKEM768"} }

func (b *builder) networkFilter(name string, m validated) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(m)}}
}

// connectionState remembers where the client connected to. Interception also marks its requests: the upstream's TLS must
// depend on the connection, not on a :scheme that the client writes.
func (k *filterKit) connectionState(transport string) *listenerv3.Filter {
	if k.states[transport] == nil {
		k.states[transport] = k.newConnectionState(transport)
	}
	return k.states[transport]
}

func (k *filterKit) newConnectionState(transport string) *listenerv3.Filter {
	values := []*setstatev3.FilterStateValue{
		stateValue(statePort, "", "%DOWNSTREAM_LOCAL_PORT%"),
	}
	if k.plan.keepsClientAddress() {
		values = append(values, stateValue(stateAddress, "envoy.network.ip", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"))
	}
	switch transport {
	case transportTLS:
		values = append(values, stateValue(stateTransport, "envoy.string", transportTLS),
			stateValue(stateDynamicHost, "", "%REQUESTED_SERVER_NAME%"))
	case transportTLSAddress:
		values = append(values, stateValue(stateTransport, "envoy.string", transportTLS))
	}
	return k.networkFilter("state", &netstatev3.Config{OnNewConnection: values})
}

func (p *Plan) keepsClientAddress() bool {
	for i := range p.Rules {
		if p.Rules[i].Resolution == v1alpha1.ResolutionClient {
			return true
		}
	}
	return false
}

func stateValue(key, factory, format string) *setstatev3.FilterStateValue {
	return &setstatev3.FilterStateValue{
		Key:        &setstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		FactoryKey: factory,
		Value: &setstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
		}},
	}
}

func (k *filterKit) interceptChain(name string, d *Domain) *listenerv3.FilterChain {
	transport := transportTLS
	if d.Addr.IsValid() {
		transport = transportTLSAddress
	}
	return &listenerv3.FilterChain{
		Name: name, TransportSocket: k.tls,
		Filters: []*listenerv3.Filter{k.connectionState(transport), k.domainManager(d)},
	}
}

// domainManager injects the headers of its own domain only, so that another domain's do not change its chain, which would
// drain it. A shared chain has those of all.
func (k *filterKit) domainManager(d *Domain) *listenerv3.Filter {
	condition, shared := hostIsServerName, &k.mitm
	if d.Addr.IsValid() {
		condition, shared = hostIsDestination, &k.mitmAddress
	}
	if len(k.plan.Domains) <= maxOwnChains {
		return k.interceptManager(condition(), d.Headers, k.plan.auditsDomain(d))
	}
	if *shared == nil {
		*shared = k.interceptManager(condition(), k.plan.headers(), k.plan.audits())
	}
	return *shared
}

func (k *filterKit) plaintextChain(name string) *listenerv3.FilterChain {
	if k.plain == nil {
		k.plain = k.plaintextManager()
	}
	return &listenerv3.FilterChain{Name: name, Filters: []*listenerv3.Filter{k.connectionState(""), k.plain}}
}

// passage is how a connection whose content is not looked at leaves.
type passage struct {
	rule  string
	way   v1alpha1.Resolution
	class portClass
	audit auditing
}

// closeChain closes without a byte: its cluster has no endpoints. It writes an audit record, which a chain without
// filters would not.
func (k *filterKit) closeChain(name, rule string) *listenerv3.FilterChain {
	return k.tcpChain(name, closedCluster, k.connectionLog(Deny, rule, ""))
}

func (k *filterKit) addressChain(name string, p passage) *listenerv3.FilterChain {
	return k.tcpChain(name, clusterName(v1alpha1.ResolutionClient, transportTCP, portClass{}), k.passageLog(p))
}

func (k *filterKit) nameChain(name string, p passage) *listenerv3.FilterChain {
	cluster := clusterName(p.way, transportTCP, p.class)
	if p.way == v1alpha1.ResolutionClient {
		return k.tcpChain(name, cluster, k.passageLog(p))
	}
	chain := k.tcpChain(name, cluster, k.resolvedLog(p))
	// Only a TCP proxy behind this filter waits for the name's first resolution.
	resolve := k.networkFilter("resolve", &sniv3.FilterConfig{DnsCacheConfig: k.dnsCache(p.way, p.class)})
	chain.Filters = append([]*listenerv3.Filter{k.connectionState(""), resolve}, chain.Filters...)
	return chain
}

func (k *filterKit) tcpChain(name, cluster string, log []*accesslogv3.AccessLog) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Name: name, Filters: []*listenerv3.Filter{k.networkFilter("tcp", &tcpv3.TcpProxy{
		StatPrefix:       "netproxy_tcp",
		ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: cluster},
		AccessLog:        log,
		// A denied or failed connection is not tried again.
		MaxConnectAttempts: wrapperspb.UInt32(1),
	})}}
}
