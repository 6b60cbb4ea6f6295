package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// reply is what the workload reads when the proxy itself answers.
type reply struct {
	when   string // CEL
	status uint32 // 0 keeps Envoy's
	reason string
	fix    string
}

const handshakeFailed = "response.code_details == 'rbac_access_denied_matched_policy[none]'"

// replies in the order in which they are tried. Only the handshake's filter denies without a policy of a name.
func replies() []reply {
	fixHost := "send the request over a connection whose TLS handshake asked for its Host"
	return []reply{
		{handshakeFailed + " && request.protocol == 'HTTP/2' && xds.virtual_host_name.startsWith('" + interceptedHost + "')", 421, reasonMisdirected, fixHost},
		{handshakeFailed, 404, reasonMisdirected, fixHost},
		{"response.code_details.startsWith('failed_to_inject_credential')", 401, "the credential for this host is missing or empty", "put the value into the Secret that the policy names"},
		{"xds.route_name.startsWith('deny:')", 0, "the policy denies this request", "ask for an Allow rule for this host, method and path"},
		{"response.code_details.startsWith('rbac_access_denied')", 403, "the policy denies this address", "ask for an Allow rule for this address and port"},
		{"true", 0, "the proxy could not pass the request on", "see details"},
	}
}

// localReplies gives each a small JSON body.
func (b *builder) localReplies() *hcmv3.LocalReplyConfig {
	var mappers []*hcmv3.ResponseMapper
	for _, r := range replies() {
		mapper := &hcmv3.ResponseMapper{Filter: b.celFilter(r.when), BodyFormatOverride: b.body(r)}
		if r.status != 0 {
			mapper.StatusCode = wrapperspb.UInt32(r.status)
		}
		mappers = append(mappers, mapper)
	}
	return &hcmv3.LocalReplyConfig{Mappers: mappers}
}

func (b *builder) celFilter(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "when",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: b.any(&celv3.ExpressionFilter{Expression: expression})},
		},
	}}
}

// body has nothing of the request's headers: an echo would show what was injected.
func (b *builder) body(r reply) *corev3.SubstitutionFormatString {
	fields := map[string]*structpb.Value{}
	for key, text := range map[string]string{
		"error": r.reason, "fix": r.fix, "policy": b.plan.Ref.String(), "rule": "%ROUTE_NAME%",
		"status": "%RESPONSE_CODE%", "host": "%REQ(:AUTHORITY)%", "method": "%REQ(:METHOD)%", "path": "%PATH(NQ)%",
		"details": "%RESPONSE_CODE_DETAILS%",
	} {
		fields[key] = structpb.NewStringValue(text)
	}
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
	}
}
