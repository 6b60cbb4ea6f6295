package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// auditing is which verdicts of a chain are recorded.
type auditing int

const (
	auditDenials auditing = iota
	auditAll
)

// Route names tell the access log, the denial's body and explain what decided: a kind, and behind the colon the rule.
const (
	routeAllow   = "allow:"
	routeAudited = "allow!:" // allowed and recorded
	routeDeny    = "deny:"
)

// logCondition is CEL over what Envoy knows when a request ends: denied by a route or by RBAC, answered 401 for a missing
// credential, or allowed by a rule that records. A local 403 is told from the upstream's by its details.
const logCondition = `xds.route_name.startsWith('deny:') || xds.route_name.startsWith('allow!:') || ` +
	`response.code_details.startsWith('rbac_access_denied') || response.code_details.startsWith('failed_to_inject_credential')`

const recordCondition = ` || ('envoy.filters.http.rbac' in metadata.filter_metadata && ` +
	`metadata.filter_metadata['envoy.filters.http.rbac']['shadow_engine_result'] == 'allowed')`

const requestVerdict = `%CEL(xds.route_name.startsWith('deny:') || response.code_details.startsWith('rbac_access_denied') || ` +
	`response.code_details.startsWith('failed_to_inject_credential') ? 'Deny' : 'Allow')%`

func (b *builder) requestLog() []*accesslogv3.AccessLog {
	condition := logCondition
	fields := b.auditFields(requestVerdict, "%ROUTE_NAME%")
	if b.plan.records() {
		condition += recordCondition
		fields["recordedBy"] = structpb.NewStringValue("%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%")
	}
	for key, format := range map[string]string{
		"host": "%REQ(:AUTHORITY)%", "method": "%REQ(:METHOD)%", "path": "%PATH(NQ)%", "protocol": "%PROTOCOL%",
		"status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%",
	} {
		fields[key] = structpb.NewStringValue(format)
	}
	log := b.stdout(fields)
	log.Filter = b.celFilter(condition)
	return []*accesslogv3.AccessLog{log}
}

// records says whether a rule only records.
func (p *Plan) records() bool {
	for i := range p.Rules {
		if p.Rules[i].Action == "" {
			return true
		}
	}
	return false
}

func (b *builder) auditFields(verdict, rule string) map[string]*structpb.Value {
	fields := map[string]*structpb.Value{}
	for key, format := range map[string]string{
		"audit": "netproxy", "time": "%START_TIME%", "policy": b.plan.Ref.String(),
		"pod": "%ENVIRONMENT(POD_NAME)%", "namespace": "%ENVIRONMENT(POD_NAMESPACE)%",
		"verdict": verdict, "rule": rule, "chain": "%FILTER_CHAIN_NAME%",
		"sni": "%REQUESTED_SERVER_NAME%", "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
		"upstream": "%UPSTREAM_REMOTE_ADDRESS%", "flags": "%RESPONSE_FLAGS%",
	} {
		fields[key] = structpb.NewStringValue(format)
	}
	return fields
}

// connectionLog records a connection that nobody looked into.
func (b *builder) connectionLog(verdict, rule string) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{b.stdout(b.auditFields(verdict, rule))}
}

func (b *builder) passageLog(p passage) []*accesslogv3.AccessLog {
	if p.audit == auditAll || b.plan.recordsConnections() {
		return b.connectionLog(Allow, p.rule)
	}
	return nil
}

// recordsConnections: a rule that records without http also sees connections that are not looked into. Which of them it
// matches is not told apart; they are all recorded.
func (p *Plan) recordsConnections() bool {
	for i := range p.Rules {
		if p.Rules[i].Action == "" && len(p.Rules[i].HTTP) == 0 {
			return true
		}
	}
	return false
}

func (b *builder) stdout(fields map[string]*structpb.Value) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "audit",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}
}
