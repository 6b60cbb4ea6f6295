package xds

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// refusedAddresses are the addresses that a resolved name must not have when it is reached on the port.
func (p *Plan) refusedAddresses(way v1alpha1.Resolution, port uint16) []netip.Prefix {
	refused := slices.Clone(p.special)
	if way == v1alpha1.ResolutionPublic {
		refused = append(refused, p.private...)
	}
	for _, r := range p.addressRules(v1alpha1.ActionDeny) {
		if r.Ports.Contains(port) {
			refused = append(refused, r.Prefixes...)
		}
	}
	return refused
}

// audits lists the rules that write a record about a request with this verdict.
func (e *evaluation) audits(v Verdict) []string {
	var out []string
	for i := range e.plan.Rules {
		r := &e.plan.Rules[i]
		decided := r.Name == v.Rule && r.Field() == v.FieldPath
		if r.Audit && (decided || r.Action == "" && !v.Misdirected && e.matches(r)) {
			out = append(out, r.Name)
		}
	}
	return out
}

// matches says whether a rule that only records sees the request.
func (e *evaluation) matches(r *Rule) bool {
	if e.http && !r.covers(e.req.Method, e.path) || !e.http && len(r.HTTP) > 0 {
		return false
	}
	return r.matchesAddress(e.req.Dst) || r.matchesName(e.name) && r.Ports.Contains(e.req.Dst.Port())
}

func (r *Rule) matchesName(name string) bool {
	return name != "" && slices.ContainsFunc(r.Names, func(h v1alpha1.Host) bool { return h.Matches(name) })
}

// nearest names the allow rule that lacks least to allow the request, and what it lacks.
func (e *evaluation) nearest() string {
	best, bestLack := "", []string(nil)
	for i := range e.plan.Rules {
		r := &e.plan.Rules[i]
		if r.Action != v1alpha1.ActionAllow {
			continue
		}
		lack := e.lacks(r)
		if best == "" || len(lack) < len(bestLack) {
			best, bestLack = r.Name, lack
		}
	}
	if best == "" || len(bestLack) == 0 || slices.Contains(bestLack, "destination") {
		return ""
	}
	return best + " (differs in " + strings.Join(bestLack, ", ") + ")"
}

// lacks weighs a wrong destination most: a rule for another host is no help.
func (e *evaluation) lacks(r *Rule) []string {
	var out []string
	if !r.matchesName(e.name) && !r.AnyDst && !anyContains(r.Prefixes, e.req.Dst.Addr()) {
		out = append(out, "destination", "destination", "destination")
	}
	if !r.Ports.Contains(e.req.Dst.Port()) {
		out = append(out, "port "+r.Ports.String())
	}
	if len(r.HTTP) == 0 {
		return out
	}
	if !e.http {
		return append(out, "http, which cannot be seen here: intercept the domain")
	}
	return append(out, e.lacksHTTP(r)...)
}

func (e *evaluation) lacksHTTP(r *Rule) []string {
	if r.covers(e.req.Method, e.path) {
		return nil
	}
	var methods, paths []string
	for _, m := range r.HTTP {
		if len(m.Methods) > 0 && !slices.Contains(m.Methods, e.req.Method) {
			methods = append(methods, m.Methods...)
		}
		if len(m.Paths) > 0 && !slices.ContainsFunc(m.Paths, func(p Path) bool { return p.covers(e.path.text) }) {
			for _, p := range m.Paths {
				paths = append(paths, string(p.Kind)+" "+p.Text)
			}
		}
	}
	var out []string
	if len(methods) > 0 {
		out = append(out, "method "+strings.Join(slices.Compact(methods), " or "))
	}
	if len(paths) > 0 {
		out = append(out, "path "+strings.Join(paths, " or "))
	}
	return out
}
