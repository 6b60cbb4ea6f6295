package attack

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catPorts = "the proxy's own ports"

// Paths of Envoy's admin interface that reveal the configuration.
var adminPaths = []string{"/config_dump", "/server_info", "/clusters", "/memory", "/runtime", "/help"}

// ports attack the proxy itself.
func ports() []Scenario {
	return []Scenario{
		{"port-redirect", "the redirect port on 127.0.0.1", catPorts, func(e *env) error { return e.ownPort(loopback4(), e.pod.RedirectPort) }},
		{"port-redirect6", "the redirect port on ::1", catPorts, func(e *env) error { return e.ownPort(loopback6(e), e.pod.RedirectPort) }},
		{"port-redirect-pod", "the redirect port on the pod's address", catPorts, func(e *env) error { return e.ownPort(e.pod.ProxyAddrs[0], e.pod.RedirectPort) }},
		{"port-loop", "a foreign address with the redirect port", catPorts, loopForeign},
		{"port-loop-host", "Host is the proxy's own port", catPorts, loopHost},
		{"port-status", "the status port from inside of the pod", catPorts, func(e *env) error { return e.ownPort(loopback4(), e.pod.AdminPort) }},
		{"port-status-pod", "the status port on the pod's address, from inside", catPorts, func(e *env) error { return e.ownPort(e.pod.ProxyAddrs[0], e.pod.AdminPort) }},
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
		return errNoIPv6
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
	dst, err := e.attacker(e.pod.RedirectPort, lab.IPv4)
	if err != nil {
		return err
	}
	return e.judgeRaw(e.raw(dst, 0, []byte("~"+e.token+"\n")), dst)
}

func loopHost(e *env) error {
	dst, err := e.attacker(80, lab.IPv4)
	if err != nil {
		return err
	}
	if err := e.byDefault(); err != nil {
		return err
	}
	host := fmt.Sprintf("127.0.0.1:%d", e.pod.RedirectPort)
	return e.refused(e.send(probe{dst: dst, method: "GET", raw: e.h1(anyRequest(), host)}))
}

func outside(e *env) error {
	c, err := lab.DialFromInternet(e.ctx, netip.AddrPortFrom(e.pod.ProxyAddrs[0], e.pod.RedirectPort))
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

// statusReveals asks from outside, as anybody in the cluster can. Certificates
// and masked dumps are public on purpose; the whole configuration is not, and
// nothing may be changed.
func statusReveals(e *env) error {
	e.out.Expected, e.out.Got = "nothing that reveals or changes", "nothing"
	for _, path := range adminPaths {
		if status, body := e.fromOutside("GET", path); status == 200 && (path != "/config_dump" || revealing(body)) {
			return e.statusAnswers("GET " + path)
		}
	}
	for _, path := range []string{"/reset_counters", "/logging?misc=info", "/healthcheck/ok"} {
		if status, _ := e.fromOutside("POST", path); status == 200 {
			return e.statusAnswers("POST " + path)
		}
	}
	return nil
}

func (e *env) statusAnswers(what string) error {
	e.out.Result, e.out.Got, e.out.Detail = Leak, "answered", "the status port answers "+what
	return nil
}

func (e *env) fromOutside(method, path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	s, err := lab.OpenFromInternet(ctx, netip.AddrPortFrom(e.pod.ProxyAddrs[0], e.pod.AdminPort))
	if err != nil {
		return 0, ""
	}
	defer func() { _ = s.Close() }()
	fields := []lab.Field{{Name: "Host", Value: "envoy"}, {Name: "Content-Length", Value: "0"}}
	res := s.HTTP1().Send(method, lab.HTTP1Request(method, path, "HTTP/1.1", nil, fields...))
	return res.Status, string(res.Body)
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
