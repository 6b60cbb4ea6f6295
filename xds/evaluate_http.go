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

// requests decides about one HTTP request; d is the intercepted domain that the connection belongs to, nil in plaintext.
func (e *evaluation) requests(chain string, d *Domain) Verdict {
	e.http, e.path = true, newRequestPath(e.req.Path)
	v := e.request(d)
	v.Chain, v.Intercepted = chain, d != nil
	if v.Verdict == Deny && v.Status == 0 {
		v.Status = statusForbidden
	}
	return v
}

func (e *evaluation) request(d *Domain) Verdict {
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
	if d != nil && !e.hostIsHandshake(host, d) {
		return e.misdirected(host)
	}
	e.claim(strings.ToLower(host))
	if isAddress(host) {
		e.claim("")
	}
	return e.rules(d)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (e *evaluation) refused(status int, reason string) Verdict {
	return Verdict{Verdict: Deny, Status: status, Rule: "default", FieldPath: "spec.egress.defaultAction", Reason: reason}
}

// requestHost is the Host as Envoy leaves it: without the connection's own port and without a trailing dot.
func (e *evaluation) requestHost() string {
	host := strings.TrimSuffix(e.req.Host, ":"+strconv.Itoa(int(e.req.Dst.Port())))
	name, port, ok := strings.Cut(host, ":")
	if ok && !strings.HasPrefix(host, "[") {
		return strings.TrimSuffix(name, ".") + ":" + port
	}
	return strings.TrimSuffix(host, ".")
}

func (e *evaluation) hostIsHandshake(host string, d *Domain) bool {
	host = strings.ToLower(host)
	if d.Addr.IsValid() {
		return host == addressAuthority(e.req.Dst.Addr()) && (e.req.SNI == "" || strings.ToLower(e.req.SNI) == host)
	}
	return host == strings.ToLower(e.req.SNI)
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
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	if e.plan.names.find(host).domain >= 0 || e.plan.interceptsAddress(host) {
		v.Status = statusMisdirected
	}
	return v
}

func (p *Plan) interceptsAddress(host string) bool {
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
	return e.inject(e.byDefault("", ""), d)
}

func (e *evaluation) rulesByName(d *Domain) (Verdict, bool) {
	if d != nil && len(d.Headers) > 0 && e.req.Method == methodTrace {
		return e.refused(statusForbidden, reasonTrace), true
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
