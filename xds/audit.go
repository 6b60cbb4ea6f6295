package xds

import (
	"maps"
	"slices"
	"strings"

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

// auditMetadata marks the routes of rules that record what they allow.
const auditMetadata = "netproxy.audit"

const (
	// isUnreached is Envoy's response flag UH, NoHealthyUpstream, as a bit.
	isUnreached = `response.flags == 2`

	isAudited        = `'` + auditMetadata + `' in xds.route_metadata.filter_metadata`
	isAuditedAddress = `(` + hasAddressRule + ` && ` + addressRule + `.endsWith('` + auditedPolicy + `'))`
	isRecorded       = `('envoy.filters.http.rbac' in metadata.filter_metadata && ` +
		`metadata.filter_metadata['envoy.filters.http.rbac']['shadow_engine_result'] == 'allowed')`
)

func auditMark() *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{auditMetadata: {}}}
}

// requestLog writes every denial, and what rules with audit allow, as JSON lines to stdout.
func (b *builder) requestLog(audit auditing) []*accesslogv3.AccessLog {
	formats := b.auditFormats(`%CEL(`+isDenied+` ? 'Deny' : 'Allow')%`, decidingRule)
	if b.plan.records() {
		formats["recordedBy"] = "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%"
	}
	maps.Copy(formats, map[string]string{
		"host": "%REQ(:AUTHORITY)%", "method": "%REQ(:METHOD)%", "path": "%PATH(NQ)%", "protocol": "%PROTOCOL%",
		"status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%",
	})
	log := b.stdout(formats)
	log.Filter = b.worthLogging(audit)
	return []*accesslogv3.AccessLog{log}
}

// worthLogging asks the cheap question first: every denial has a status of 400 or more, and only then is CEL evaluated. It
// costs as much as the rest of the filters together.
func (b *builder) worthLogging(audit auditing) *accesslogv3.AccessLogFilter {
	denied := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{AndFilter: &accesslogv3.AndFilter{
		Filters: []*accesslogv3.AccessLogFilter{statusFrom(statusBadRequest), b.celFilter(isDenied)},
	}}}
	alternatives := []*accesslogv3.AccessLogFilter{denied}
	if audit == auditAll {
		alternatives = append(alternatives, b.celFilter(isAudited))
	}
	if b.plan.auditsAddresses() {
		alternatives = append(alternatives, b.celFilter(isAuditedAddress))
	}
	if b.plan.records() {
		alternatives = append(alternatives, b.celFilter(isRecorded))
	}
	if len(alternatives) == 1 {
		return denied
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{OrFilter: &accesslogv3.OrFilter{Filters: alternatives}}}
}

func statusFrom(status uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{StatusCodeFilter: &accesslogv3.StatusCodeFilter{
		Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_GE,
			Value: &corev3.RuntimeUInt32{DefaultValue: status, RuntimeKey: "netproxy.audit.status"},
		},
	}}}
}

// audits says whether a rule that decides by name also records.
func (p *Plan) audits() auditing {
	for i := range p.names.atoms {
		if p.auditsAtom(&p.names.atoms[i]) {
			return auditAll
		}
	}
	return auditDenials
}

// auditsDomain asks only for the rules of one domain: those of others must not change its chain.
func (p *Plan) auditsDomain(d *Domain) auditing {
	for i := range p.names.atoms {
		if a := &p.names.atoms[i]; a.domain >= 0 && &p.Domains[a.domain] == d && p.auditsAtom(a) {
			return auditAll
		}
	}
	return auditDenials
}

func (p *Plan) auditsAtom(a *atom) bool {
	return slices.ContainsFunc(a.rules, func(r int) bool { return p.Rules[r].Audit && p.Rules[r].Action != "" })
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

func (b *builder) auditFormats(verdict, rule string) map[string]string {
	return map[string]string{
		"audit": "netproxy", "time": "%START_TIME%", "policy": b.plan.Ref.String(),
		"pod": "%ENVIRONMENT(POD_NAME)%", "namespace": "%ENVIRONMENT(POD_NAMESPACE)%",
		"verdict": verdict, "rule": rule, "chain": "%FILTER_CHAIN_NAME%",
		"sni": "%REQUESTED_SERVER_NAME%", "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
		"upstream": "%UPSTREAM_REMOTE_ADDRESS%", "flags": "%RESPONSE_FLAGS%",
	}
}

// connectionLog records a connection that nobody looked into, if the condition holds; an empty one always does.
func (b *builder) connectionLog(verdict, rule, condition string) []*accesslogv3.AccessLog {
	formats := b.auditFormats(verdict, rule)
	if by := b.plan.recordedBy(); by != "" {
		formats["recordedBy"] = by
	}
	log := b.stdout(formats)
	if condition != "" {
		log.Filter = b.celFilter(condition)
	}
	return []*accesslogv3.AccessLog{log}
}

// resolvedLog also records a name that resolves to no address that the rule accepts: that is a denial.
func (b *builder) resolvedLog(p passage) []*accesslogv3.AccessLog {
	condition := ""
	if p.audit != auditAll {
		condition = strings.Join(append(b.plan.connectionConditions(), isUnreached), " || ")
	}
	return b.connectionLog(`%CEL(`+isUnreached+` ? 'Deny' : 'Allow')%`, p.rule, condition)
}

func (b *builder) passageLog(p passage) []*accesslogv3.AccessLog {
	conditions := b.plan.connectionConditions()
	switch {
	case p.audit == auditAll:
		return b.connectionLog(Allow, p.rule, "")
	case len(conditions) > 0:
		return b.connectionLog(Allow, p.rule, strings.Join(conditions, " || "))
	}
	return nil
}

func (b *builder) stdout(formats map[string]string) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "audit",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: b.jsonFormat(formats)},
		})},
	}
}
