package attack

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catHost = "Host header"

// hosts dresses up the Host header. Some forms mean the same name and must
// work, some must not arrive anywhere.
func hosts() []Scenario {
	out := []Scenario{
		{"host-port", "Host with the port", catHost, sameName(func(ep Endpoint) string { return fmt.Sprintf("%s:%d", ep.Name, ep.Port) })},
		{"host-case", "Host in upper case", catHost, sameName(func(ep Endpoint) string { return strings.ToUpper(ep.Name) })},
		{"host-dot", "Host with a trailing dot", catHost, sameName(func(ep Endpoint) string { return ep.Name + "." })},
		{"host-missing", "HTTP/1.1 without Host", catHost, rawHost(nil)},
		{"host-empty", "empty Host", catHost, badHost("")},
		{"host-twice-good-first", "two Hosts, the allowed one first", catHost, rawHost([]string{"%s", stranger})},
		{"host-twice-bad-first", "two Hosts, the attacker's first", catHost, rawHost([]string{stranger, "%s"})},
		{"host-absolute-other", "absolute-form with another name", catHost, func(e *env) error { return e.absolute(stranger, "") }},
		{"host-absolute-same", "absolute-form with the name, Host is another", catHost, func(e *env) error { return e.absolute("", stranger) }},
		{"host-http10", "HTTP/1.0 with the attacker's Host", catHost, func(e *env) error { return e.http10(stranger) }},
		{"host-http10-none", "HTTP/1.0 without Host", catHost, func(e *env) error { return e.http10("") }},
		{"host-space-colon", "space before the colon of Host", catHost, hostLine("Host : " + stranger)},
		{"host-folded", "folded Host", catHost, hostLine("Host: %s\r\n " + stranger)},
		{"host-forwarded", "X-Forwarded-Host is another name", catHost, forwarded},
	}
	for _, d := range []struct{ id, title, host string }{
		{"userinfo", "userinfo in Host", "user@%s"},
		{"userinfo-name", "the allowed name as userinfo", "%s@" + stranger},
		{"list", "two names with a comma", "%s," + stranger},
		{"path", "a path in Host", "%s/." + stranger},
		{"fragment", "a fragment in Host", stranger + "#%s"},
		{"backslash", "a backslash in Host", stranger + `\.%s`},
		{"suffix", "the allowed name as a prefix of another", "%s." + stranger},
		{"prefix", "the allowed name without a label boundary", "x%s"},
		{"percent", "percent-encoded dot in Host", "%s%%2e" + stranger},
		{"nul", "NUL in Host", "%s\x00." + stranger},
		{"brackets", "the name in brackets", "[%s]"},
		{"non-ascii", "full-width letters in Host", "\uff41%s"},
		{"port-text", "a port that is no number", "%s:443@" + stranger},
	} {
		out = append(out, Scenario{"host-" + d.id, d.title, catHost, badHost(d.host)})
	}
	return out
}

// sameName means the allowed name: it must work like the plain one.
func sameName(host func(Endpoint) string) func(*env) error {
	return func(e *env) error {
		ep, err := e.intercepted(0)
		if err != nil {
			return err
		}
		dst, err := e.at(ep, lab.IPv4)
		if err != nil {
			return err
		}
		return e.arrives(e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, host(ep))}), ep)
	}
}

// badHost must be refused. %s in the pattern is the allowed name.
func badHost(pattern string) func(*env) error {
	return func(e *env) error {
		ep, err := e.intercepted(0)
		if err != nil {
			return err
		}
		return e.rawLines(ep, []string{"Host: " + fill(pattern, ep.Name)})
	}
}

func rawHost(patterns []string) func(*env) error {
	return func(e *env) error {
		ep, err := e.intercepted(0)
		if err != nil {
			return err
		}
		var lines []string
		for _, p := range patterns {
			lines = append(lines, "Host: "+fill(p, ep.Name))
		}
		return e.rawLines(ep, lines)
	}
}

func hostLine(pattern string) func(*env) error {
	return func(e *env) error {
		ep, err := e.intercepted(0)
		if err != nil {
			return err
		}
		return e.rawLines(ep, []string{fill(pattern, ep.Name)})
	}
}

// rawLines sends the permitted request with these header lines instead of
// Host. A connection that is closed is as good as a status.
func (e *env) rawLines(ep Endpoint, lines []string) error {
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	var values []string
	raw := ep.Method + " " + ep.Path + " HTTP/1.1\r\n"
	for _, line := range lines {
		raw += line + "\r\n"
		values = append(values, strings.TrimPrefix(line, "Host: "))
	}
	e.out.Host = display(strings.Join(values, " + "))
	raw += lab.TokenHeader + ": " + e.token + "\r\nContent-Length: 0\r\n\r\n"
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: []byte(raw)}))
}

// absolute sends `GET https://NAME/path`; RFC 9112, section 3.2.2 says that
// Host is to be ignored then.
func (e *env) absolute(target, host string) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	foreign := target != ""
	if !foreign {
		target = ep.Name
	}
	if host == "" {
		host = ep.Name
	}
	e.out.Host = display(target + " + " + host)
	raw := e.request(ep, "https://"+target+ep.Path, "HTTP/1.1", lab.Field{Name: "Host", Value: host})
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: raw})
	if foreign {
		return e.refused(res)
	}
	if err := e.harmless(res, ep); err != nil {
		return err
	}
	if seen, ok := e.seen(); ok && strings.EqualFold(seen.Host, stranger) {
		e.out.Result, e.out.Detail = Leak, "the upstream got the attacker's Host"
	}
	return nil
}

func (e *env) http10(host string) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	e.out.Host = display(host)
	var fields []lab.Field
	if host != "" {
		fields = append(fields, lab.Field{Name: "Host", Value: host})
	}
	raw := e.request(ep, ep.Path, "HTTP/1.0", fields...)
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: raw}))
}

func forwarded(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	more := []lab.Field{
		{Name: "X-Forwarded-Host", Value: stranger}, {Name: "Forwarded", Value: "host=" + stranger},
		{Name: "X-Envoy-Original-Dst-Host", Value: lab.Attacker4.String() + ":443"}, {Name: "X-Original-Url", Value: "/denied"},
		{Name: "X-Envoy-Upstream-Rq-Timeout-Ms", Value: "1"}, {Name: "X-Envoy-Original-Path", Value: "/denied"},
	}
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, ep.Name, more...)})
	return e.judge(res, "arrives at "+ep.Name+" or nowhere", res.Status != http.StatusBadGateway, ep.Name)
}

func fill(pattern, name string) string {
	if strings.Contains(pattern, "%s") {
		return fmt.Sprintf(pattern, name)
	}
	return pattern
}
