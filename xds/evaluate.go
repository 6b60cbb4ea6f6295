package xds

import (
	"net/netip"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Request is one connection or HTTP request of a workload, as the proxy sees it.
type Request struct {
	Dst      netip.AddrPort // where the client connects to; the address may be invalid (not known)
	TLS      bool
	SNI      string // as sent; empty is none
	HTTP     bool   // HTTP is spoken: in plaintext, or inside the TLS
	HTTP2    bool
	Host     string // Host or :authority
	Method   string
	Path     string       // with or without query
	Resolved []netip.Addr // what DNS answers for the name; nil is not known, and then any address is taken for acceptable
}

// The verdicts.
const (
	Allow = "Allow"
	Deny  = "Deny"
)

// Verdict is what Envoy does with a request, and why.
type Verdict struct {
	Verdict     string   `json:"verdict"`               // Allow or Deny
	Status      int      `json:"status"`                // HTTP status of a denial; 0 where the connection is closed, or the upstream's answer passes
	Rule        string   `json:"rule"`                  // the deciding rule, or "default"
	FieldPath   string   `json:"fieldPath"`             // where in the policy it stands
	Chain       string   `json:"chain"`                 // Envoy's filter chain, without its revision
	Intercepted bool     `json:"intercepted"`           // TLS is terminated
	Misdirected bool     `json:"misdirected"`           // Host is not the name of the TLS handshake
	Injected    []string `json:"injected"`              // names of the headers that the proxy sets
	Upstream    string   `json:"upstream,omitempty"`    // Public, Any: the proxy resolves the name; Client: the client's address
	Reason      string   `json:"reason"`                // for a person
	Audit       []string `json:"audit,omitempty"`       // rules that record it
	NearestRule string   `json:"nearestRule,omitempty"` // a rule that would have allowed it, with what it lacks
}

// HTTP, of which Envoy answers these itself (RFC 9110).
const (
	statusBadRequest  = 400
	statusForbidden   = 403
	statusNotFound    = 404
	statusMisdirected = 421
	statusUnavailable = 503
	methodConnect     = "CONNECT"
	methodTrace       = "TRACE"
)

// denial reasons that are compared in tests and shown to people.
const (
	reasonNoRule     = "no rule allows it"
	reasonDefault    = "the policy's default action allows it"
	reasonSpecial    = "loopback, link-local and metadata addresses need a rule with cidrs"
	reasonPath       = "the path cannot be normalised safely"
	reasonHTTPHidden = "the rule has http, and HTTP cannot be seen here"
	reasonTrace      = "TRACE would echo the injected headers"
	reasonConnect    = "CONNECT is never let through"
	reasonResolved   = "the name resolves to no address that the rule accepts"
	reasonNotHTTP    = "what is inside the intercepted TLS is not HTTP"
	reasonHost       = "the request names no host"
)

// Evaluate says what the rendered Envoy does with a request.
func (p *Plan) Evaluate(r Request) Verdict {
	e := evaluation{plan: p, req: r}
	v := e.run()
	if v.Injected == nil {
		v.Injected = []string{}
	}
	if v.Verdict == Deny {
		v.NearestRule = e.nearest()
	}
	v.Audit = e.audits(v)
	return v
}

// evaluation is one run of Evaluate.
type evaluation struct {
	plan *Plan
	req  Request
	http bool   // requests are visible
	name string // the normalised name that the client claims, or ""
	atom *atom
	path requestPath
}

func (e *evaluation) run() Verdict {
	switch {
	case e.plan.opaque.Contains(e.req.Dst.Port()):
		return e.tcp()
	case e.req.TLS:
		return e.tls()
	case e.req.HTTP:
		return e.requests(-1)
	default:
		return e.tcp()
	}
}

func (e *evaluation) tls() Verdict {
	e.claim(e.plan.sniName(e.req.SNI))
	if e.atom != nil && e.plan.names.intercepts(e.atom, e.name) {
		return e.requests(e.atom.domain)
	}
	if v, ok := e.denied(); ok {
		return v
	}
	if v, ok := e.allowedByName(); ok {
		return v
	}
	if d, ok := e.plan.addresses[e.req.Dst.Addr()]; ok {
		return e.requests(d)
	}
	return e.byAddress()
}

// claim sets the name whose rules count.
func (e *evaluation) claim(name string) {
	e.name, e.atom = "", nil
	if name == "" {
		return
	}
	e.name, e.atom = name, e.plan.names.find(name)
	if e.atom.host.Kind == v1alpha1.HostAny && !visibleName(name) {
		e.name, e.atom = "", nil
	}
}

// tcp decides about what has neither TLS nor HTTP, or is not looked at.
func (e *evaluation) tcp() Verdict {
	if v, ok := e.denied(); ok {
		return v
	}
	return e.byAddress()
}

// denied is the deny rules for connections whose requests cannot be seen: a rule with http closes them all.
func (e *evaluation) denied() (Verdict, bool) {
	for _, r := range e.plan.addressRules(v1alpha1.ActionDeny) {
		if r.matchesAddress(e.req.Dst) {
			return e.ruled(r, e.plan.denyIdentity(r), denyReason(r)), true
		}
	}
	if e.atom == nil {
		return Verdict{}, false
	}
	for _, r := range e.plan.atomRules(e.atom, v1alpha1.ActionDeny) {
		if r.Ports.Contains(e.req.Dst.Port()) {
			return e.ruled(r, e.plan.denyIdentity(r), denyReason(r)), true
		}
	}
	return Verdict{}, false
}

func denyReason(r *Rule) string {
	if len(r.HTTP) > 0 {
		return reasonHTTPHidden
	}
	return "the rule denies it"
}

func (e *evaluation) allowedByName() (Verdict, bool) {
	if e.atom == nil {
		return Verdict{}, false
	}
	for _, r := range e.plan.atomRules(e.atom, v1alpha1.ActionAllow) {
		if len(r.HTTP) > 0 || !r.Ports.Contains(e.req.Dst.Port()) || !e.clientAddressOK(r) {
			continue
		}
		v := e.ruled(r, e.plan.nameIdentity(r, e.atom, e.plan.classOf(e.req.Dst.Port())), "the rule allows it; TLS passes through unseen")
		return e.resolve(v, r), true
	}
	return Verdict{}, false
}

// clientAddressOK: a rule that keeps the client's address must not open the special ones.
func (e *evaluation) clientAddressOK(r *Rule) bool {
	return r.Resolution != v1alpha1.ResolutionClient || !anyContains(e.plan.special, e.req.Dst.Addr())
}

func (e *evaluation) byAddress() Verdict {
	for _, r := range e.plan.addressRules(v1alpha1.ActionAllow) {
		if len(r.HTTP) == 0 && r.matchesAddress(e.req.Dst) {
			v := e.ruled(r, e.plan.addressIdentity(r), "the rule allows the address")
			v.Upstream = string(v1alpha1.ResolutionClient)
			return v
		}
	}
	return e.byDefault(chainTCPDefault, chainDenyDefault)
}

func (e *evaluation) byDefault(allowChain, denyChain string) Verdict {
	v := Verdict{Verdict: Deny, Rule: "default", FieldPath: "spec.egress.defaultAction", Chain: denyChain, Reason: reasonNoRule}
	if e.plan.Default != v1alpha1.ActionAllow {
		return v
	}
	if anyContains(e.plan.special, e.req.Dst.Addr()) {
		v.Reason = reasonSpecial
		return v
	}
	v.Verdict, v.Chain, v.Reason, v.Upstream = Allow, allowChain, reasonDefault, string(v1alpha1.ResolutionClient)
	return v
}

func (e *evaluation) ruled(r *Rule, chain, reason string) Verdict {
	return Verdict{Verdict: string(r.Action), Rule: r.Name, FieldPath: r.Field(), Chain: chain, Reason: reason}
}

// resolve checks the addresses of the name against what the rule accepts.
func (e *evaluation) resolve(v Verdict, r *Rule) Verdict {
	v.Upstream = string(r.way(e.atom))
	if v.Upstream == string(v1alpha1.ResolutionClient) || e.req.Resolved == nil {
		return v
	}
	refused := e.plan.refusedAddresses(r.way(e.atom), e.req.Dst.Port())
	for _, addr := range e.req.Resolved {
		if !anyContains(refused, addr) {
			return v
		}
	}
	v.Verdict, v.Reason = Deny, reasonResolved
	if e.http {
		v.Status = statusUnavailable
	}
	return v
}

// sniName is the SNI as Envoy matches it: in lower case; a trailing dot, which no client sends, is looked through only
// where the default would let it pass.
func (p *Plan) sniName(sni string) string {
	name := strings.ToLower(sni)
	if p.Default == v1alpha1.ActionAllow {
		name = strings.TrimSuffix(name, ".")
	}
	return name
}
