package attack

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catRebinding = "DNS rebinding"

// forbidden is an address that no allowed name may lead to.
type forbidden struct {
	id, address string
	// private addresses are what `resolution: Any` is for.
	private bool
}

func (f forbidden) addr() netip.Addr { return netip.MustParseAddr(f.address) }

func allForbidden() []forbidden {
	return []forbidden{
		{"metadata", "169.254.169.254", false},
		{"loopback", "127.0.0.1", false},
		{"unspecified", "0.0.0.0", false},
		{"private", "10.1.2.3", true},
		{"shared", "100.64.1.1", true},
		{"loopback6", "::1", false},
		{"mapped", "::ffff:169.254.169.254", false},
		{"nat64", "64:ff9b::a9fe:a9fe", false},
		{"unique-local", "fd12:3456::1", true},
		{"metadata6", "fd00:ec2::254", false},
	}
}

// rebinding lets an allowed name resolve to where nobody may go.
func rebinding() []Scenario {
	var out []Scenario
	for _, f := range allForbidden() {
		title := "an allowed name resolves to " + f.address
		out = append(out,
			Scenario{"rebind-" + f.id, title + ", intercepted", catRebinding, func(e *env) error {
				ep, err := e.intercepted(0)
				return e.rebind(ep, err, f, overTLS)
			}},
			Scenario{"rebind-pass-" + f.id, title + ", passed through", catRebinding, func(e *env) error {
				ep, err := e.passthrough()
				return e.rebind(ep, err, f, overTLS)
			}},
			Scenario{"rebind-plain-" + f.id, title + ", plaintext", catRebinding, func(e *env) error {
				ep, err := e.plaintext()
				return e.rebind(ep, err, f, plaintext)
			}})
	}
	return out
}

func (e *env) rebind(ep Endpoint, err error, f forbidden, how transport) error {
	if err != nil {
		return err
	}
	if ep.TrustsClient {
		return errSkip("the rule has resolution Client: the proxy does not resolve the name")
	}
	if e.target.DefaultAllow && how == plaintext {
		return errSkip("default Allow keeps the client's address")
	}
	if err := e.forbids(ep, f); err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	var all []netip.Addr
	for _, other := range allForbidden() {
		if e.forbids(ep, other) == nil {
			all = append(all, other.addr())
		}
	}
	addrs, err := e.names.mislead(e.ctx, ep.Name, f.addr(), all)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() }) {
		stop, err := e.pod.Trap(e.ctx, ep.Port)
		if err != nil {
			return err
		}
		defer func() { _ = stop() }()
	}
	p := probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}
	if how == overTLS {
		p.tls = hello1(ep.Name)
	}
	return e.judgeRebind(e.send(p), f.addr(), addrs)
}

// forbids is nil if the endpoint's name may not lead to the address.
func (e *env) forbids(ep Endpoint, f forbidden) error {
	switch {
	case f.private && ep.AcceptsPrivate:
		return errSkip("the rule has resolution Any: private addresses are allowed")
	case f.addr().Is6() && !e.lab.IPv6:
		return errNoIPv6
	}
	return nil
}

// judgeRebind: the connection itself is what must not happen, whether or not
// a certificate stops it later.
func (e *env) judgeRebind(res lab.Result, addr netip.Addr, addrs []netip.Addr) error {
	if err := e.judge(res, "refused, no connection to "+addr.String(), !res.Success() && res.Outcome != lab.Timeout); err != nil {
		return err
	}
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		to := entry.To.Addr()
		reached := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap() == to })
		if entry.Kind == lab.Connection && (reached || to.IsLoopback()) {
			e.out.Result, e.out.Detail = Leak, "the proxy connected to "+entry.To.String()
		}
	}
	if strings.Contains(string(res.Body), `"address"`) {
		e.out.Result, e.out.Detail = Leak, "an upstream answered"
	}
	return nil
}
