package attack

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// judge fills the row. ok says whether the client got what the policy
// promises; reach are the names at which the request may have arrived.
func (e *env) judge(res lab.Result, expected string, ok bool, reach ...string) error {
	e.out.Expected = expected
	if e.out.Got == "" {
		e.out.Got = res.String()
	}
	time.Sleep(settle)
	if what := e.leak(reach); what != "" {
		e.out.Result, e.out.Detail = Leak, what
		return nil
	}
	switch {
	case ok:
		e.out.Result = Pass
		if res.Err != nil && e.out.Detail == "" {
			e.out.Detail = res.Err.Error()
		}
	case res.Success() && len(reach) == 0:
		e.out.Result, e.out.Detail = Leak, fmt.Sprintf("the client got %s", res)
	default:
		e.out.Result, e.out.Detail = Fail, fmt.Sprintf("the client got %s, not %s", describe(res), expected)
	}
	return nil
}

func describe(res lab.Result) string {
	if res.Err != nil {
		return fmt.Sprintf("%s (%v)", res, res.Err)
	}
	return res.String()
}

// refused is the verdict about an attack that must get one of these statuses;
// without any, every refusal will do. An error of a gateway is none: it says
// that the request was on its way.
func (e *env) refused(res lab.Result, statuses ...int) error {
	if len(statuses) == 0 {
		tried := res.Status >= http.StatusBadGateway && res.Status <= http.StatusGatewayTimeout
		return e.judge(res, "refused, nothing leaves", !res.Success() && res.Outcome != lab.Timeout && !tried)
	}
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(statuses), " ", " or "), "[]")
	return e.judge(res, text+", nothing leaves", slices.Contains(statuses, res.Status))
}

// closed is the verdict about a connection that must end without a byte.
func (e *env) closed(res lab.Result) error {
	return e.judge(res, "closed", res.ClosedWithoutByte() || res.Outcome == lab.Refused)
}

// arrives is the verdict about a request that has to work.
func (e *env) arrives(res lab.Result, ep Endpoint) error {
	if err := e.judge(res, "200 from "+ep.Name, res.Success(), ep.Name); err != nil || e.out.Result != Pass {
		return err
	}
	if seen, ok := e.seen(); !ok {
		e.out.Result, e.out.Detail = Fail, "the client got a success, but the request never arrived"
	} else if problem := missing(seen, ep.Injected); problem != "" {
		e.out.Result, e.out.Detail = Fail, problem
	}
	return nil
}

// harmless is the verdict about a request that may arrive at its real host or
// be refused, but must go nowhere else.
func (e *env) harmless(res lab.Result, ep Endpoint) error {
	return e.judge(res, "arrives at "+ep.Name+" or nowhere", res.Outcome != lab.Timeout, ep.Name)
}

// seen is the request that carried the token, if one arrived.
func (e *env) seen() (lab.Entry, bool) {
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		if entry.Kind == lab.HTTP && entry.Mentions(e.token) {
			return entry, true
		}
	}
	return lab.Entry{}, false
}

// missing says which header was not injected exactly once, with its own value.
func missing(seen lab.Entry, injected []Header) string {
	for _, h := range injected {
		if got := seen.Header.Values(h.Name); !slices.Equal(got, []string{h.Value}) {
			return fmt.Sprintf("%s arrived %d times, or with another value", h.Name, len(got))
		}
	}
	return ""
}

// leak looks at everything that left since the scenario began.
func (e *env) leak(reach []string) string {
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		if what := e.leakIn(entry, reach); what != "" {
			return what
		}
	}
	return ""
}

func (e *env) leakIn(entry lab.Entry, reach []string) string {
	switch entry.Kind {
	case lab.DNSQuery:
		if e.pod.IsProxy(entry.From.Addr()) && !e.mayResolve(entry) {
			return fmt.Sprintf("the proxy asked %s for %s %s", entry.To.Addr(), entry.QueryType, entry.Query)
		}
		return ""
	case lab.Packet:
		return e.leakInPacket(entry)
	}
	if entry.Mentions(e.token) && !e.owned(entry.To.Addr(), reach) {
		return fmt.Sprintf("the request arrived at %s (%s)", entry.To, whose(entry))
	}
	for _, ep := range e.target.endpoints() {
		for _, h := range ep.Injected {
			if h.Value == "" || !entry.Mentions(h.Value) {
				continue
			}
			if !e.mayHave(h, entry) {
				return fmt.Sprintf("the injected %s arrived at %s (%s)", h.Name, entry.To, whose(entry))
			}
			if !entry.TLS {
				return fmt.Sprintf("the injected %s left without TLS to %s", h.Name, entry.To)
			}
		}
	}
	return ""
}

// mayHave reports whether some endpoint with this credential lives where it arrived.
func (e *env) mayHave(h Header, entry lab.Entry) bool {
	for _, other := range e.target.endpoints() {
		if slices.Contains(other.Injected, h) && e.lab.World.Owns(other.Name, entry.To.Addr()) {
			return true
		}
	}
	return false
}

// leakInPacket: only DNS to the resolvers may leave as something else than TCP.
// ICMP errors about them are the kernel's.
func (e *env) leakInPacket(entry lab.Entry) string {
	resolver := slices.Contains(e.lab.Resolvers(), entry.To.Addr())
	if resolver && (entry.Proto != "udp" || entry.To.Port() == 53) {
		return ""
	}
	if !entry.Mentions(e.token) {
		return ""
	}
	return fmt.Sprintf("a packet (%s) left to %s", entry.Proto, entry.To)
}

// mayResolve: the proxy looks up allowed names only, of its own resolvers only.
// The names may carry a search domain.
func (e *env) mayResolve(entry lab.Entry) bool {
	if !slices.Contains(e.lab.Resolvers(), entry.To.Addr()) {
		return false
	}
	for _, ep := range e.target.endpoints() {
		name := strings.ToLower(ep.Name)
		if entry.Query == name || strings.HasPrefix(entry.Query, name+".") && strings.HasSuffix(entry.Query, ".cluster.local") {
			return true
		}
	}
	return false
}

func (e *env) owned(a netip.Addr, names []string) bool {
	for _, n := range names {
		if e.lab.World.Owns(n, a) {
			return true
		}
	}
	return false
}

func whose(entry lab.Entry) string {
	if len(entry.Owners) == 0 {
		return "nobody's address"
	}
	return strings.Join(entry.Owners, ", ")
}
