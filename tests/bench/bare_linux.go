package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// barePort is where the bare Envoy listens, on loopback.
const barePort = 8443

// bare is an Envoy that only terminates TLS with a P-256 leaf and re-originates it: verified, TLS 1.3, HTTP/2 where the
// upstream offers it. Everything else is Envoy's default. It knows the upstream's address and asks no resolver.
type bare struct {
	dir string
	err error
}

func (b *bare) any(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	b.err = errors.Join(b.err, err)
	return packed
}

func startBare(ctx context.Context, envoy, dir string, id *identities) (*process, error) {
	b := &bare{dir: dir}
	config := b.bootstrap()
	if err := errors.Join(b.err, config.ValidateAll()); err != nil {
		return nil, fmt.Errorf("configure the bare Envoy: %w", err)
	}
	data, err := protojson.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("configure the bare Envoy: %w", err)
	}
	for name, text := range map[string][]byte{"bootstrap.json": data, "leaf.crt": id.leafCert, "leaf.key": id.leafKey, "upstream-ca.crt": id.trusted} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	p, err := launch(dir, "bare", proxyCPU, envoy, "-c", filepath.Join(dir, "bootstrap.json"), "--concurrency", "1", "--disable-hot-restart")
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, 20*time.Second, 10*time.Millisecond, func() error {
		conn, err := direct(ctx)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// direct connects to the bare Envoy without the redirect.
func direct(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", barePort))
}

// redirected connects to the upstream as a workload does.
func redirected(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress)}}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(upstreamAddress, "443"))
}

func (b *bare) file(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: filepath.Join(b.dir, name)}}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func (b *bare) transport(m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(m)}}
}

func (b *bare) bootstrap() *bootstrapv3.Bootstrap {
	return &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{{
			Name: "tls", Address: address("127.0.0.1", barePort),
			FilterChains: []*listenerv3.FilterChain{{TransportSocket: b.transport(b.downstream()), Filters: []*listenerv3.Filter{{
				Name: "http", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(b.manager())},
			}}}},
		}},
		Clusters: []*clusterv3.Cluster{b.cluster()},
	}}
}

func (b *bare) downstream() *tlsv3.DownstreamTlsContext {
	return &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		AlpnProtocols:   []string{"h2", "http/1.1"},
		TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: b.file("leaf.crt"), PrivateKey: b.file("leaf.key")}},
	}}
}

func (b *bare) manager() *hcmv3.HttpConnectionManager {
	route := &routev3.Route{
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "upstream"},
		}},
	}
	return &hcmv3.HttpConnectionManager{
		StatPrefix: "bare",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{route}}},
		}},
		HttpFilters: []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(&routerv3.Router{})}}},
	}
}

func (b *bare) cluster() *clusterv3.Cluster {
	tls := &tlsv3.UpstreamTlsContext{Sni: upstreamName, CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: b.file("upstream-ca.crt")},
		},
	}}
	options := &upstreamhttpv3.HttpProtocolOptions{
		UpstreamHttpProtocolOptions: &corev3.UpstreamHttpProtocolOptions{AutoSanValidation: true},
		UpstreamProtocolOptions:     &upstreamhttpv3.HttpProtocolOptions_AutoConfig{AutoConfig: &upstreamhttpv3.HttpProtocolOptions_AutoHttpConfig{}},
	}
	return &clusterv3.Cluster{
		Name: "upstream", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		TransportSocket: b.transport(tls),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": b.any(options),
		},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: "upstream", Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: address(upstreamAddress, 443)},
			}}},
		}}},
	}
}

// pool trusts one certificate.
func pool(cert *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(cert)
	return p
}
