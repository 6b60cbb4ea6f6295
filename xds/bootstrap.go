package xds

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// connectTimeout bounds a connection to an upstream.
const connectTimeout = 10 * time.Second

// maxConnections bounds what one workload can hold open; a loop must not take the node's memory.
const maxConnections = 16384

const adminCluster = "admin"

// bootstrap has no policy in it: it does not change while a sidecar lives.
func (b *builder) bootstrap() *bootstrapv3.Bootstrap {
	out := &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: "netproxy", Cluster: "netproxy"},
		Admin: &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{
			Pipe: &corev3.Pipe{Path: b.cfg.Paths.Run + "/" + AdminSocket, Mode: 0o600},
		}}},
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			LdsConfig: b.configFile(ListenersFile),
			CdsConfig: b.configFile(ClustersFile),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: b.statusListeners(),
			Clusters:  []*clusterv3.Cluster{b.admin()},
		},
		OverloadManager: &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
			Name: "envoy.resource_monitors.global_downstream_max_connections",
			ConfigType: &overloadv3.ResourceMonitor_TypedConfig{
				TypedConfig: b.any(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: maxConnections}),
			},
		}}},
	}
	b.check(out)
	return out
}

func (b *builder) admin() *clusterv3.Cluster {
	address := &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: b.cfg.Paths.Run + "/" + AdminSocket}}}
	return &clusterv3.Cluster{
		Name:                 adminCluster,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: adminCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}}}},
		}}},
	}
}

// The pages of the status port.
const (
	StatusReady    = "/ready"
	StatusMetrics  = "/stats/prometheus"
	StatusRevision = "/revision" // what listeners, clusters, routes and credentials are in force, as JSON
	StatusCerts    = "/certs"
	StatusRejected = "/rejected" // why listeners were refused, as JSON
)

// statusPages are the only things that the status port answers, each for GET with exactly this path and no query: what
// it asks of the admin interface is written here and nowhere else.
func statusPages() [][2]string {
	return [][2]string{
		{StatusReady, "/ready"},
		{StatusMetrics, "/stats/prometheus?usedonly"},
		{StatusRevision, "/stats?filter=^(listener_manager\\.lds|cluster_manager\\.cds|http\\.netproxy_[a-z]*\\.rds\\.requests|sds\\.[0-9a-f]*)\\." +
			"(version_text|update_rejected|update_failure|update_success)$&format=json"},
		{StatusCerts, "/certs"},
		{StatusRejected, "/config_dump?resource=dynamic_listeners&mask=name,error_state.details"},
	}
}

// statusListeners: kubelet and Prometheus come from outside the pod.
func (b *builder) statusListeners() []*listenerv3.Listener {
	var out []*listenerv3.Listener
	filters := []*listenerv3.Filter{b.networkFilter("http", &hcmv3.HttpConnectionManager{
		StatPrefix:     "netproxy_status",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: statusRoutes()},
		HttpFilters:    []*hcmv3.HttpFilter{b.httpFilter("router", &routerv3.Router{})},
	})}
	for _, f := range b.families() {
		out = append(out, &listenerv3.Listener{
			Name:                  "status." + f.name,
			Address:               socketAddress(f.any, uint32(b.plan.AdminPort)),
			FilterChains:          []*listenerv3.FilterChain{{Filters: filters}},
			IgnoreGlobalConnLimit: true,
		})
	}
	return out
}

func statusRoutes() *routev3.RouteConfiguration {
	host := &routev3.VirtualHost{Name: "status", Domains: []string{"*"}}
	for _, page := range statusPages() {
		whole := headerMatcher(":path", &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: page[0]}})
		host.Routes = append(host.Routes, &routev3.Route{
			Match: &routev3.RouteMatch{
				PathSpecifier: &routev3.RouteMatch_Path{Path: page[0]},
				Headers:       []*routev3.HeaderMatcher{methodMatcher([]string{"GET"}), whole},
			},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: adminCluster},
				PrefixRewrite:    page[1],
			}},
		})
	}
	return &routev3.RouteConfiguration{Name: "status", VirtualHosts: []*routev3.VirtualHost{host}}
}

func socketAddress(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
