package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	celformatv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What decided, as CEL over Envoy's response details. A denial by the upstream is told from the proxy's own by them:
// every direct response is a deny route, RBAC denies without the name of a policy only in the handshake filter.
const (
	isMisdirected  = `response.code_details == 'rbac_access_denied_matched_policy[none]'`
	isDeniedByRBAC = `response.code_details.startsWith('rbac_access_denied')`
	isDeniedByRule = `response.code_details == 'direct_response'`
	isUninjected   = `response.code_details.startsWith('failed_to_inject_credential')`
	// isUnresolved is an answer of DNS without an address that the rule accepts.
	isUnresolved = `response.code_details == 'dns_resolution_failure{address_denied}'`
	isUnreadable = `response.code_details in ['path_normalization_failed', 'absolute_path_rejected']`
	// isUnrouted is CONNECT: what has a path has a route.
	isUnrouted = `response.code_details == 'route_not_found'`
	isDenied   = isDeniedByRule + ` || ` + isDeniedByRBAC + ` || ` + isUninjected + ` || ` + isUnresolved + ` || ` + isUnreadable + ` || ` + isUnrouted
	// isIntercepted holds if TLS to the Host is intercepted, over another connection.
	isIntercepted = `xds.virtual_host_name.startsWith('` + interceptedHost + `')`
	// decidingRule is the name of the rule, or "default".
	decidingRule = `%CEL(` + isMisdirected + ` ? 'misdirected' : ` + isDeniedByRBAC +
		` ? response.code_details.replace('rbac_access_denied_matched_policy[', '').replace(']', '') : ` +
		isUnreadable + ` || ` + isUnrouted + ` ? '` + policyDefault + `' : xds.route_name == '` + routeAddress + `' ? ` + allowingAddress + ` : xds.route_name)%`
	// allowingAddress is the rule that allows the address, or "default".
	allowingAddress = `(` + hasAddressRule + ` ? ` + addressRule + `.replace('` + auditedPolicy + `', '') : '` + policyDefault + `')`
	hasAddressRule  = `'envoy.filters.http.rbac' in metadata.filter_metadata && '` + addressShadow +
		`shadow_effective_policy_id' in metadata.filter_metadata['envoy.filters.http.rbac']`
	addressRule = `metadata.filter_metadata['envoy.filters.http.rbac']['` + addressShadow + `shadow_effective_policy_id']`
)

// localReplies gives what the proxy itself answers a status and a small JSON body.
func (b *builder) localReplies() *hcmv3.LocalReplyConfig {
	return &hcmv3.LocalReplyConfig{
		Mappers: []*hcmv3.ResponseMapper{
			// Clients that coalesce HTTP/2 connections open another one when they are told 421 (RFC 9113, section 9.1.2).
			{Filter: b.celFilter(isMisdirected + ` && request.protocol == 'HTTP/2' && ` + isIntercepted), StatusCode: wrapperspb.UInt32(statusMisdirected)},
			{Filter: b.celFilter(isMisdirected), StatusCode: wrapperspb.UInt32(statusNotFound)},
			{Filter: b.celFilter(isUnrouted), StatusCode: wrapperspb.UInt32(statusForbidden)},
			{Filter: b.celFilter(isUnreadable), StatusCode: wrapperspb.UInt32(statusBadRequest)},
		},
		BodyFormat: b.jsonFormat(map[string]string{
			"error": `%CEL(` + isMisdirected + ` ? '` + reasonMisdirected + `' : ` + isUninjected + ` ? '` + reasonUninjected +
				`' : ` + isUnresolved + ` ? '` + reasonResolved + `' : ` + isUnreadable + ` ? '` + reasonPath +
				`' : ` + isDenied + ` ? '` + reasonDenied + `' : '` + reasonFailed + `')%`,
			"fix": `%CEL(` + isMisdirected + ` ? 'use a connection that was made for this host and port' : ` + isUninjected +
				` ? 'put a value into the Secret that the policy names' : ` + isUnresolved +
				` ? 'use a name with public addresses, or change the resolution of the rule' : ` + isUnreadable +
				` ? 'send the path without encoded slashes, backslashes and NUL' : ` + isDenied +
				` ? 'ask for an Allow rule for this host, method and path' : 'see details')%`,
			"rule": decidingRule, "policy": b.plan.Ref.String(), "details": "%RESPONSE_CODE_DETAILS%", "status": "%RESPONSE_CODE%",
			// Nothing of the request's headers: an echo would show what was injected.
			"host": "%REQ(:AUTHORITY)%", "method": "%REQ(:METHOD)%", "path": "%PATH(NQ)%",
		}),
	}
}

// Texts of denials; they stand in CEL between single quotes.
const (
	reasonMisdirected = "Host is not the name or port that the connection was made for"
	reasonUninjected  = "the credential for this host is missing or empty"
	reasonDenied      = "the policy denies this request"
	reasonFailed      = "the proxy could not pass the request on"
)

func (b *builder) celFilter(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: b.any(&celv3.ExpressionFilter{Expression: expression})},
		},
	}}
}

func (b *builder) jsonFormat(formats map[string]string) *corev3.SubstitutionFormatString {
	fields := make(map[string]*structpb.Value, len(formats))
	for key, text := range formats {
		fields[key] = structpb.NewStringValue(text)
	}
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
		Formatters: []*corev3.TypedExtensionConfig{{Name: "envoy.formatter.cel", TypedConfig: b.any(&celformatv3.Cel{
			CelConfig: &corev3.CelExpressionConfig{EnableStringFunctions: true},
		})}},
	}
}
