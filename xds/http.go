package xds

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	exprv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Names of HTTP filters, to which virtual hosts and routes refer.
const (
	filterHandshake = "handshake" // Host is the name of the TLS handshake, and perhaps a port
	filterOwnPort   = "own-port"  // in plaintext: Host has the connection's port or none
	filterDenied    = "denied"    // addresses that a rule denies
	filterAddress   = "address"   // addresses that a rule allows, where no rule allowed the name
	filterRecord    = "record"    // rules that only record
	filterHeaders   = "headers"   // literal headers
	filterInject    = "inject-"   // and the credential's digest
)

func (k *filterKit) plaintextManager() *listenerv3.Filter {
	return k.manager("plaintext", k.plan.audits(), k.commonFilters([]*hcmv3.HttpFilter{k.httpFilter(filterOwnPort, k.onlyOwnPort())}))
}

func (k *filterKit) interceptManager(condition *exprv1.Expr, headers []Header, audit auditing) *listenerv3.Filter {
	filters := k.commonFilters([]*hcmv3.HttpFilter{k.httpFilter(filterHandshake, k.onlyIf(condition))})
	router := filters[len(filters)-1]
	filters = append(filters[:len(filters)-1], k.injectFilters(headers)...)
	return k.manager("intercept", audit, append(filters, router))
}

// commonFilters are the filters of every HTTP chain behind the given ones; the router is last.
func (k *filterKit) commonFilters(filters []*hcmv3.HttpFilter) []*hcmv3.HttpFilter {
	if rules := k.recordRules(); rules != nil {
		filters = append(filters, k.httpFilter(filterRecord, rules))
	}
	if rules := k.deniedRules(); rules != nil {
		filters = append(filters, k.httpFilter(filterDenied, rules))
	}
	if rules := k.addressRBAC(); rules != nil {
		filters = append(filters, disabled(k.httpFilter(filterAddress, rules)))
	}
	return append(filters, k.httpFilter("router", &routerv3.Router{
		SuppressEnvoyHeaders: true,
		DynamicStats:         wrapperspb.Bool(false),
	}))
}

func (b *builder) httpFilter(name string, m validated) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(m)}}
}

// disabled filters run where a virtual host or a route switches them on.
func disabled(f *hcmv3.HttpFilter) *hcmv3.HttpFilter {
	f.Disabled = true
	return f
}

// injectFilters sets headers. A credential comes by SDS and not in the configuration: Envoy redacts it in dumps, sees a
// new value at once, and answers 401 while there is none. A filter has one credential and no per-route configuration, so
// there is one for each, switched on by the virtual hosts of its domains.
func (k *filterKit) injectFilters(headers []Header) []*hcmv3.HttpFilter {
	var out []*hcmv3.HttpFilter
	if slices.ContainsFunc(headers, func(h Header) bool { return h.Credential == nil }) {
		out = append(out, k.httpFilter(filterHeaders, &headermutationv3.HeaderMutation{}))
	}
	for _, c := range credentials(headers) {
		out = append(out, disabled(k.httpFilter(filterInject+c.id(), &injectorv3.CredentialInjector{
			Overwrite: true,
			Credential: &corev3.TypedExtensionConfig{
				Name: "envoy.http.injected_credentials.generic",
				TypedConfig: k.any(&genericv3.Generic{
					Credential:        &tlsv3.SdsSecretConfig{Name: c.id(), SdsConfig: k.configFile(c.File())},
					Header:            c.Header,
					HeaderValuePrefix: c.Prefix,
				}),
			},
		})))
	}
	return out
}

func (k *filterKit) manager(stat string, audit auditing, filters []*hcmv3.HttpFilter) *listenerv3.Filter {
	slashes := hcmv3.HttpConnectionManager_REJECT_REQUEST
	if k.plan.allowsEncodedSlashes() {
		slashes = hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	}
	return k.networkFilter("http", &hcmv3.HttpConnectionManager{
		StatPrefix: "netproxy_" + stat,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			RouteConfigName: routeConfig, ConfigSource: k.configFile(RoutesFile),
		}},
		HttpFilters: filters,
		AccessLog:   k.requestLog(audit),
		// The workload's Host and path are compared by what they mean.
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: slashes,
		StripTrailingHostDot:         true,
		HttpProtocolOptions:          &corev3.Http1ProtocolOptions{AcceptHttp_10: true},
		UpgradeConfigs:               []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		// The upstream sees the workload's request and nothing of the proxy.
		GenerateRequestId:          wrapperspb.Bool(false),
		SkipXffAppend:              true,
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		// Event streams may be silent for long.
		StreamIdleTimeout: durationpb.New(0),
		LocalReplyConfig:  k.localReplies(),
	})
}
