package attack

import (
	"net/netip"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catRebinding = "DNS rebinding"

// rebinding lets an allowed name resolve to where nobody may go. The proxy is
// restarted first, so that it asks again.
func rebinding() []Scenario {
	var out []Scenario
	for _, r := range []struct {
		id, address string
		// private addresses are what `resolution: Any` is for.
		private bool
	}{
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
	} {
		addr := netip.MustParseAddr(r.address)
		title := "an allowed name resolves to " + r.address
		out = append(out,
			Scenario{"rebind-" + r.id, title + ", intercepted", catRebinding, func(e *env) error {
				ep, err := e.intercepted(0)
				return e.rebind(ep, err, addr, r.private, true)
			}},
			Scenario{"rebind-pass-" + r.id, title + ", passed through", catRebinding, func(e *env) error {
				ep, err := e.passthrough()
				return e.rebind(ep, err, addr, r.private, true)
			}},
			Scenario{"rebind-plain-" + r.id, title + ", plaintext", catRebinding, func(e *env) error {
				ep, err := e.plaintext()
				return e.rebind(ep, err, addr, r.private, false)
			}})
	}
	return out
}

func (e *env) rebind(ep Endpoint, err error, addr netip.Addr, private, withTLS bool) error {
	if err != nil {
		return err
	}
	if ep.TrustsClient {
		return errSkip("the rule has resolution Client: the proxy does not resolve the name")
	}
	if private && ep.AcceptsPrivate {
		return errSkip("the rule has resolution Any: private addresses are allowed")
	}
	if e.target.DefaultAllow && !withTLS {
		return errSkip("default Allow keeps the client's address")
	}
	if addr.Is6() && !e.lab.IPv6 {
		return errSkip("this kernel has no IPv6")
	}
	dst, err := e.at(ep, false)
	if err != nil {
		return err
	}
	e.lab.World.Override(ep.Name, addr)
	defer e.lab.World.ClearOverrides()
	e.stale = true
	if _, err := e.pod.RestartEnvoy(e.ctx); err != nil {
		return err
	}
	if local := addr.IsLoopback() || addr.IsUnspecified(); local {
		stop, err := e.pod.Trap(e.ctx, ep.Port)
		if err != nil {
			return err
		}
		defer func() { _ = stop() }()
	}
	p := probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}
	if withTLS {
		p.tls = hello1(ep.Name)
	}
	return e.judgeRebind(e.send(p), addr)
}

// judgeRebind: the connection itself is what must not happen, whether or not
// a certificate stops it later.
func (e *env) judgeRebind(res lab.Result, addr netip.Addr) error {
	if err := e.judge(res, "refused, no connection to "+addr.String(), !res.Success() && res.Outcome != lab.Timeout); err != nil {
		return err
	}
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		to := entry.To.Addr()
		if entry.Kind == lab.Connection && (to == addr.Unmap() || to.IsLoopback()) {
			e.out.Result, e.out.Detail = Leak, "the proxy connected to "+entry.To.String()
		}
	}
	if strings.Contains(string(res.Body), `"address"`) {
		e.out.Result, e.out.Detail = Leak, "an upstream answered"
	}
	return nil
}
