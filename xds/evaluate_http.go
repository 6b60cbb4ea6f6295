package xds

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// visibleNamePattern is what "*" takes for a name; Go and Envoy read it alike (RE2). The last label must begin with a
// letter: everything else is an address in some notation.
const visibleNamePattern = `([a-z0-9_-]+\.)*[a-z_][a-z0-9_-]*`

func visibleName(name string) bool {
	ok, err := regexp.MatchString("^(?:"+visibleNamePattern+")$", name)
	return err == nil && ok
}

// requests decides about one HTTP request over a connection to an intercepted domain, or in plaintext if that is negative.
func (e *evaluation) requests(domain int) Verdict {
	e.http, e.path = true, newRequestPath(e.req.Path)
	chain, d := chainPlaintext, (*Domain)(nil)
	if domain >= 0 {
		chain, d = e.plan.interceptIdentity(domain), &e.plan.Domains[domain]
	}
	v := e.request(d)
	v.Chain, v.Intercepted = chain, d != nil
	if v.Verdict == Deny && v.Status == 0 {
		v.Status = statusForbidden
	}
	return v
}

func (e *evaluation) request(d *Domain) Verdict {
	if !e.req.HTTP {
		return e.refused(statusBadRequest, reasonNotHTTP)
	}
	host := e.requestHost()
	if host == "" {
		return e.refused(statusBadRequest, reasonHost)
	}
	if e.req.Method == methodConnect {
		return e.refused(statusForbidden, reasonConnect)
	}
	if e.path.bad || e.path.encodedSlash && !e.plan.allowsEncodedSlashes() {
		return e.refused(statusBadRequest, reasonPath)
	}
	if !e.hostIsHandshake(host, d) {
		return e.misdirected(host)
	}
	e.claim(hostName(host))
	return e.rules(d)
}

// hostName is the name that a Host claims, without any port, or "" for an address.
func hostName(host string) string {
	if strings.HasPrefix(host, "[") || isAddress(host) {
		return ""
	}
	name, _, _ := strings.Cut(host, ":")
	if isAddress(name) {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (e *evaluation) refused(status int, reason string) Verdict {
	return Verdict{Verdict: Deny, Status: status, Rule: "default", FieldPath: "spec.egress.defaultAction", Reason: reason}
}

// requestHost is the Host as Envoy leaves it, in lower case: without a trailing dot.
func (e *evaluation) requestHost() string {
	host := strings.ToLower(e.req.Host)
	if name, port, ok := strings.Cut(host, ":"); ok && !strings.HasPrefix(host, "[") {
		return strings.TrimSuffix(name, ".") + ":" + port
	}
	return strings.TrimSuffix(host, ".")
}

// hostIsHandshake is what the handshake filters check; see cel.go.
func (e *evaluation) hostIsHandshake(host string, d *Domain) bool {
	if d != nil && !wholeMatch(hostFormPattern, host) {
		return false
	}
	bare := strings.TrimSuffix(host, ":"+strconv.Itoa(int(e.req.Dst.Port())))
	switch sni := strings.ToLower(e.req.SNI); {
	case d == nil:
		return bare != host || !endsInPort(host)
	case d.Addr.IsValid():
		return bare == addressAuthority(e.req.Dst.Addr()) && (sni == "" || sni == host)
	default:
		name, _, _ := strings.Cut(host, ":")
		return name == sni
	}
}

func endsInPort(host string) bool {
	i := strings.LastIndexByte(host, ':')
	return i >= 0 && strings.Trim(host[i+1:], "0123456789") == ""
}

func addressAuthority(addr netip.Addr) string {
	if addr.Is4() {
		return addr.String()
	}
	return "[" + addr.String() + "]"
}

func (e *evaluation) misdirected(host string) Verdict {
	v := e.refused(statusNotFound, reasonMisdirected)
	v.Misdirected, v.Rule, v.FieldPath = true, "misdirected", "spec.mitm.domains"
	if !e.req.HTTP2 {
		return v
	}
	if name := hostName(host); name != "" && e.plan.names.find(name).domain >= 0 || e.plan.interceptsAddress(host) {
		v.Status = statusMisdirected
	}
	return v
}

func (p *Plan) interceptsAddress(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	_, ok := p.addresses[addr]
	return ok
}

// rules is deny, allow by name, allow by address, default, in this order.
func (e *evaluation) rules(d *Domain) Verdict {
	for _, r := range e.plan.addressRules(v1alpha1.ActionDeny) {
		if r.matchesAddress(e.req.Dst) && r.covers(e.req.Method, e.path) {
			return e.ruled(r, "", "the rule denies it")
		}
	}
	if v, ok := e.rulesByName(d); ok {
		return v
	}
	for _, r := range e.plan.addressRules(v1alpha1.ActionAllow) {
		if r.matchesAddress(e.req.Dst) && r.covers(e.req.Method, e.path) {
			v := e.ruled(r, "", "the rule allows the address")
			v.Upstream = string(v1alpha1.ResolutionClient)
			return e.inject(v, d)
		}
	}
	if e.path.encodedSlash {
		return e.refused(statusForbidden, reasonNoRule)
	}
	return e.inject(e.byDefault("", ""), d)
}

func (e *evaluation) rulesByName(d *Domain) (Verdict, bool) {
	if d != nil && len(d.Headers) > 0 && e.req.Method == methodTrace {
		v := e.refused(statusForbidden, reasonTrace)
		v.Rule, v.FieldPath = ruleTrace, "spec.mitm.headerMutations"
		return v, true
	}
	if e.atom == nil {
		return Verdict{}, false
	}
	for _, r := range e.plan.atomRules(e.atom, v1alpha1.ActionDeny) {
		if r.Ports.Contains(e.req.Dst.Port()) && r.covers(e.req.Method, e.path) {
			return e.ruled(r, "", "the rule denies it"), true
		}
	}
	for _, r := range e.plan.atomRules(e.atom, v1alpha1.ActionAllow) {
		if r.Ports.Contains(e.req.Dst.Port()) && r.covers(e.req.Method, e.path) && e.clientAddressOK(r) {
			return e.inject(e.resolve(e.ruled(r, "", "the rule allows it"), r), d), true
		}
	}
	return Verdict{}, false
}

func (e *evaluation) inject(v Verdict, d *Domain) Verdict {
	if v.Verdict == Allow && d != nil {
		for _, h := range d.Headers {
			v.Injected = append(v.Injected, h.Name)
		}
	}
	return v
}
