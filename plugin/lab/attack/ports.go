package attack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catPorts = "the proxy's own ports"

// Paths of Envoy's admin interface that reveal the configuration.
var adminPaths = []string{"/config_dump", "/server_info", "/clusters", "/certs", "/listeners", "/help"}

// ports attack the proxy itself.
func ports() []Scenario {
	return []Scenario{
		{"port-redirect", "the redirect port on 127.0.0.1", catPorts, func(e *env) error { return e.ownPort(loopback4(), lab.RedirectPort) }},
		{"port-redirect6", "the redirect port on ::1", catPorts, func(e *env) error { return e.ownPort(loopback6(e), lab.RedirectPort) }},
		{"port-redirect-pod", "the redirect port on the pod's address", catPorts, func(e *env) error { return e.ownPort(e.pod.ProxyAddrs[0], lab.RedirectPort) }},
		{"port-loop", "a foreign address with the redirect port", catPorts, loopForeign},
		{"port-loop-host", "Host is the proxy's own port", catPorts, loopHost},
		{"port-status", "the status port from inside of the pod", catPorts, func(e *env) error { return e.ownPort(loopback4(), lab.AdminPort) }},
		{"port-status-pod", "the status port on the pod's address, from inside", catPorts, func(e *env) error { return e.ownPort(e.pod.ProxyAddrs[0], lab.AdminPort) }},
		{"port-redirect-outside", "the redirect port from another host", catPorts, outside},
		{"port-admin", "Envoy's admin interface on any TCP port", catPorts, adminInside},
		{"port-status-reveals", "the status port answers admin paths", catPorts, statusReveals},
	}
}

func loopback4() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func loopback6(e *env) netip.Addr {
	if !e.lab.IPv6 {
		return netip.Addr{}
	}
	return netip.IPv6Loopback()
}

// ownPort must be closed for the workload.
func (e *env) ownPort(addr netip.Addr, port uint16) error {
	if !addr.IsValid() {
		return errSkip("this kernel has no IPv6")
	}
	dst := netip.AddrPortFrom(addr, port)
	e.out.Host = dst.String()
	res := e.raw(dst, 0, []byte("GET /ready HTTP/1.1\r\nHost: "+e.token+"\r\n\r\n"))
	return e.closed(res)
}

func loopForeign(e *env) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(lab.RedirectPort, false)
	if err != nil {
		return err
	}
	return e.judgeRaw(e.raw(dst, 0, []byte("~"+e.token+"\n")), dst)
}

func loopHost(e *env) error {
	dst, err := e.attacker(80, false)
	if err != nil {
		return err
	}
	if err := e.byDefault(); err != nil {
		return err
	}
	host := fmt.Sprintf("127.0.0.1:%d", lab.RedirectPort)
	return e.refused(e.send(probe{dst: dst, method: "GET", raw: e.h1(anyRequest(), host)}))
}

func outside(e *env) error {
	c, err := lab.DialFromInternet(e.ctx, netip.AddrPortFrom(e.pod.ProxyAddrs[0], lab.RedirectPort))
	res := lab.Result{Outcome: lab.Refused, Err: err}
	if err == nil {
		res.Outcome = lab.Answered
		_ = c.Close()
	}
	return e.judge(res, "refused", err != nil)
}

// adminInside asks everything that listens in the pod for Envoy's configuration.
func adminInside(e *env) error {
	listening, err := e.pod.Listening()
	if err != nil {
		return err
	}
	e.out.Expected, e.out.Got = "no answer on any port", fmt.Sprintf("%d ports, no answer", len(listening))
	for _, l := range listening {
		for _, addr := range []netip.Addr{l.Addr(), loopback4(), e.pod.ProxyAddrs[0]} {
			if addr.IsUnspecified() || addr.Is6() && !e.lab.IPv6 {
				continue
			}
			if what := e.adminAt(netip.AddrPortFrom(addr, l.Port())); what != "" {
				e.out.Result, e.out.Got, e.out.Detail = Leak, "answered", what
				return nil
			}
		}
	}
	return nil
}

func (e *env) adminAt(dst netip.AddrPort) string {
	for _, path := range adminPaths[:2] {
		res := e.raw(dst, 0, []byte("GET "+path+" HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n"))
		if revealing(string(res.Body)) {
			return fmt.Sprintf("%s answers %s to the workload", dst, path)
		}
		if res.Outcome != lab.Answered {
			return ""
		}
	}
	return ""
}

// statusReveals asks from outside, as anybody in the cluster can.
func statusReveals(e *env) error {
	e.out.Expected, e.out.Got = "/ready and metrics only", "nothing else answered"
	for _, path := range adminPaths {
		ctx, cancel := context.WithTimeout(e.ctx, limit)
		status, body, err := lab.GetFromInternet(ctx, netip.AddrPortFrom(e.pod.ProxyAddrs[0], lab.AdminPort), path)
		cancel()
		if err == nil && status == 200 && (revealing(string(body)) || slices.Contains([]string{"/clusters", "/help"}, path)) {
			e.out.Result, e.out.Got, e.out.Detail = Leak, "answered", "the status port answers "+path
			return nil
		}
	}
	return nil
}

// revealing recognises answers of the admin interface.
func revealing(body string) bool {
	for _, mark := range []string{`"configs"`, `"command_line_options"`, `"certificates"`, "::added_via_api::"} {
		if strings.Contains(body, mark) {
			return true
		}
	}
	return false
}
