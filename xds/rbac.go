package xds

import (
	"net/netip"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	exprv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// policyDefault is the RBAC policy of the default denial; rule names are DNS labels, and this one is refused (v1alpha1).
const policyDefault = "default"

// onlyIf allows a request if its Host has a right form and the condition holds. It is an ALLOW: a condition that cannot be
// evaluated denies.
func (b *builder) onlyIf(condition *exprv1.Expr) *httprbacv3.RBAC {
	policy := conditional(condition)
	policy.Permissions = []*rbacv3.Permission{hostForm()}
	return allowing(map[string]*rbacv3.Policy{filterHandshake: policy})
}

// onlyOwnPort is for plaintext: the Host has no port or the connection's. Envoy would connect to the port that the Host
// names, and the rules have judged the connection's. Policies are tried by name, the cheap one first.
func (b *builder) onlyOwnPort() *httprbacv3.RBAC {
	withPort := headerMatcher(":authority", regex(`.*:[0-9]*`))
	withPort.InvertMatch = true
	return allowing(map[string]*rbacv3.Policy{
		"1-none": anyone(headerPermission(withPort)),
		"2-own":  conditional(hostPortIsDestination()),
	})
}

// hostFormPattern is what a Host may look like. Envoy finds the virtual host by what stands before a colon, whatever
// stands behind it.
const hostFormPattern = `[^:]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?`

func hostForm() *rbacv3.Permission {
	return headerPermission(headerMatcher(":authority", regex(hostFormPattern)))
}

// onlyHandshakeFor is the handshake filter of a virtual host that has one name: that the Host is this name is why the
// virtual host was chosen, so only the SNI is left to compare, and what stands behind a colon. The name alone, which is
// what nearly all requests have, is compared first. CEL instead costs 4 % of the instructions of a request (callgrind).
func (b *builder) onlyHandshakeFor(name string) *httprbacv3.RBACPerRoute {
	sni := &rbacv3.Permission{Rule: &rbacv3.Permission_RequestedServerName{
		RequestedServerName: &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: name}},
	}}
	whole := headerMatcher(":authority", &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: name}, IgnoreCase: true})
	return &httprbacv3.RBACPerRoute{Rbac: allowing(map[string]*rbacv3.Policy{
		filterHandshake: anyone(allOf(sni, anyOf(headerPermission(whole), hostForm()))),
	})}
}

func allowing(policies map[string]*rbacv3.Policy) *httprbacv3.RBAC {
	return &httprbacv3.RBAC{Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: policies}}
}

func conditional(condition *exprv1.Expr) *rbacv3.Policy {
	policy := anyone(anything())
	policy.Condition = condition
	policy.CelConfig = &corev3.CelExpressionConfig{
		EnableStringFunctions: true, EnableStringConcat: true, EnableStringConversion: true,
	}
	return policy
}

func anyone(permissions ...*rbacv3.Permission) *rbacv3.Policy {
	return &rbacv3.Policy{
		Permissions: permissions,
		Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_Any{Any: true}}},
	}
}

func anything() *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
}

// deniedRules is nil without deny rules for addresses.
func (b *builder) deniedRules() validated {
	policies := map[string]*rbacv3.Policy{}
	for _, r := range b.plan.requestRules(v1alpha1.ActionDeny) {
		policies[r.Name] = anyone(b.requestPermission(r))
	}
	if len(policies) == 0 {
		return nil
	}
	return &httprbacv3.RBAC{Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: policies}}
}

// addressRBAC denies, as the default, what no rule allows by address. It is nil where the route denies by itself.
func (b *builder) addressRBAC() validated {
	var allowed []*rbacv3.Permission
	names := map[string]*rbacv3.Policy{}
	for _, r := range b.plan.requestRules(v1alpha1.ActionAllow) {
		allowed = append(allowed, b.requestPermission(r))
		names[addressPolicy(r)] = anyone(allowed[len(allowed)-1])
	}
	if b.plan.Default == v1alpha1.ActionAllow {
		allowed = append(allowed, allOf(notThis(b.addressIn(b.plan.special)), b.slashesRefused()))
	}
	if len(allowed) == 0 {
		return nil
	}
	out := &httprbacv3.RBAC{Rules: &rbacv3.RBAC{
		Action:   rbacv3.RBAC_DENY,
		Policies: map[string]*rbacv3.Policy{policyDefault: anyone(notThis(anyOf(allowed...)))},
	}}
	if len(names) > 0 {
		// The denial cannot say which rule did not deny.
		out.ShadowRules = &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: names}
		out.ShadowRulesStatPrefix = addressShadow
	}
	return out
}

// Records name the rule that allows an address after its policy here; the mark, which no name of a rule has, says that the
// rule records. It sorts before everything that a name can have, so that the order of rules stays.
const (
	addressShadow = "address_"
	auditedPolicy = "+"
)

func addressPolicy(r *Rule) string {
	if r.Audit {
		return r.Name + auditedPolicy
	}
	return r.Name
}

// hasFallback says whether a request can be allowed by its address alone.
func (p *Plan) hasFallback() bool {
	return p.Default == v1alpha1.ActionAllow || len(p.requestRules(v1alpha1.ActionAllow)) > 0
}

// requestPermission is a rule's address, ports and http.
func (b *builder) requestPermission(r *Rule) *rbacv3.Permission {
	var parts []*rbacv3.Permission
	if !r.AnyDst {
		parts = append(parts, b.addressIn(r.Prefixes))
	}
	if r.Ports != nil {
		parts = append(parts, portIn(r.Ports))
	}
	return allOf(append(parts, b.httpPermissions(r)...)...)
}

// httpPermissions is a rule's http.
func (b *builder) httpPermissions(r *Rule) []*rbacv3.Permission {
	if len(r.HTTP) == 0 {
		if r.Action == v1alpha1.ActionAllow {
			return []*rbacv3.Permission{b.slashesRefused()}
		}
		return nil
	}
	alternatives := make([]*rbacv3.Permission, len(r.HTTP))
	for i := range r.HTTP {
		alternatives[i] = b.matchPermission(&r.HTTP[i], r.Action)
	}
	return []*rbacv3.Permission{anyOf(alternatives...)}
}

func (b *builder) matchPermission(m *HTTPMatch, action v1alpha1.Action) *rbacv3.Permission {
	var parts []*rbacv3.Permission
	if len(m.Methods) > 0 {
		parts = append(parts, headerPermission(methodMatcher(m.Methods)))
	}
	for _, h := range b.slashHeaders(action, m.EncodedSlash) {
		parts = append(parts, headerPermission(h))
	}
	var paths []*rbacv3.Permission
	for _, p := range m.Paths {
		paths = append(paths, &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matchv3.PathMatcher{
			Rule: &matchv3.PathMatcher_Path{Path: pathText(p)},
		}}})
	}
	if len(paths) > 0 {
		parts = append(parts, anyOf(paths...))
	}
	return allOf(parts...)
}

func pathText(p Path) *matchv3.StringMatcher {
	if p.pattern != nil {
		return regex(p.pattern.String())
	}
	if p.Kind == PathPrefix {
		return &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Prefix{Prefix: p.Text}}
	}
	return &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: p.Text}}
}

// slashesRefused is anything unless some rule opts in: until then Envoy itself refuses encoded slashes.
func (b *builder) slashesRefused() *rbacv3.Permission {
	if !b.plan.allowsEncodedSlashes() {
		return anything()
	}
	return headerPermission(noEncodedSlash())
}

func noEncodedSlash() *routev3.HeaderMatcher { return pathWithout(encodedSlashPattern) }

func pathWithout(pattern string) *routev3.HeaderMatcher {
	m := headerMatcher(":path", regex(pattern))
	m.InvertMatch = true
	return m
}

func methodMatcher(methods []string) *routev3.HeaderMatcher {
	if len(methods) == 1 {
		return headerMatcher(":method", &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_Exact{Exact: methods[0]}})
	}
	quoted := make([]string, len(methods))
	for i, m := range methods {
		quoted[i] = regexp.QuoteMeta(m)
	}
	return headerMatcher(":method", regex(strings.Join(quoted, "|")))
}

func headerMatcher(name string, text *matchv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: text}}
}

func regex(pattern string) *matchv3.StringMatcher {
	return &matchv3.StringMatcher{MatchPattern: &matchv3.StringMatcher_SafeRegex{SafeRegex: &matchv3.RegexMatcher{Regex: pattern}}}
}

func headerPermission(m *routev3.HeaderMatcher) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: m}}
}

func (b *builder) addressIn(prefixes []netip.Prefix) *rbacv3.Permission {
	parts := make([]*rbacv3.Permission, len(prefixes))
	for i, p := range prefixes {
		parts[i] = &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationIp{DestinationIp: cidrRange(p)}}
	}
	return anyOf(parts...)
}

// portIn: Envoy's range excludes its end.
func portIn(ports PortSet) *rbacv3.Permission {
	parts := make([]*rbacv3.Permission, len(ports))
	for i, r := range ports {
		if r.First == r.Last {
			parts[i] = &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(r.First)}}
			continue
		}
		parts[i] = &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPortRange{
			DestinationPortRange: &typev3.Int32Range{Start: int32(r.First), End: int32(r.Last) + 1},
		}}
	}
	return anyOf(parts...)
}

func allOf(parts ...*rbacv3.Permission) *rbacv3.Permission {
	switch len(parts) {
	case 0:
		return anything()
	case 1:
		return parts[0]
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: parts}}}
}

func anyOf(parts ...*rbacv3.Permission) *rbacv3.Permission {
	if len(parts) == 1 {
		return parts[0]
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: parts}}}
}

func notThis(p *rbacv3.Permission) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: p}}
}

// recordRules evaluates the rules that only record, as a shadow: they never hold a request back.
func (b *builder) recordRules() validated {
	policies := map[string]*rbacv3.Policy{}
	for i := range b.plan.Rules {
		r := &b.plan.Rules[i]
		if r.Action == "" {
			policies[r.Name] = anyone(b.recordPermission(r))
		}
	}
	if len(policies) == 0 {
		return nil
	}
	return &httprbacv3.RBAC{ShadowRules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: policies}}
}

func (b *builder) recordPermission(r *Rule) *rbacv3.Permission {
	var where []*rbacv3.Permission
	if r.AnyDst {
		where = append(where, anything())
	}
	if len(r.Prefixes) > 0 {
		where = append(where, b.addressIn(r.Prefixes))
	}
	for _, h := range r.Names {
		where = append(where, headerPermission(headerMatcher(":authority", hostText(h))))
	}
	parts := []*rbacv3.Permission{anyOf(where...)}
	if r.Ports != nil {
		parts = append(parts, portIn(r.Ports))
	}
	return allOf(append(parts, b.httpPermissions(r)...)...)
}

// hostText matches a Host whose own port Envoy has taken away; another port does not change what name it is.
func hostText(h v1alpha1.Host) *matchv3.StringMatcher {
	pattern := visibleNamePattern
	switch h.Kind {
	case v1alpha1.HostExact:
		pattern = regexp.QuoteMeta(h.Name)
	case v1alpha1.HostSuffix:
		pattern = `.+\.` + regexp.QuoteMeta(h.Name)
	}
	return regex(`(?i)` + pattern + `(:[0-9]+)?`)
}
