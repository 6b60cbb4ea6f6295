package attack

import (
	"fmt"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catHTTP2 = "HTTP/2"

// http2Attacks play with pseudo header fields.
func http2Attacks() []Scenario {
	host := func(ep Endpoint) lab.Field { return lab.Field{Name: "host", Value: ep.Name} }
	foreign := lab.Field{Name: "host", Value: stranger}
	list := []struct {
		id, title string
		fields    func(e *env, ep Endpoint) []lab.Field
	}{
		{"authority-evil-host-good", ":authority is the attacker's, host is allowed", func(e *env, ep Endpoint) []lab.Field {
			return e.h2(ep, stranger, host(ep))
		}},
		{"host-only-evil", "no :authority, host is the attacker's", func(e *env, ep Endpoint) []lab.Field {
			defer func() { e.out.Host = stranger }()
			return e.h2(ep, "", foreign)
		}},
		{"neither", "neither :authority nor host", func(e *env, ep Endpoint) []lab.Field { return e.h2(ep, "") }},
		{"authority-twice", "two :authority fields", func(e *env, ep Endpoint) []lab.Field {
			return append([]lab.Field{{Name: ":authority", Value: ep.Name}}, e.h2(ep, stranger)...)
		}},
		{"authority-userinfo", "userinfo in :authority", func(e *env, ep Endpoint) []lab.Field { return e.h2(ep, ep.Name+"@"+stranger) }},
		{"authority-crlf", "a line break in :authority", func(e *env, ep Endpoint) []lab.Field {
			return e.h2(ep, ep.Name+"\r\nhost: "+stranger)
		}},
		{"header-crlf", "a line break in a header value", func(e *env, ep Endpoint) []lab.Field {
			return e.h2(ep, ep.Name, lab.Field{Name: "x-a", Value: "b\r\nhost: " + stranger})
		}},
		{"path-crlf", "a line break in :path", func(e *env, ep Endpoint) []lab.Field {
			ep.Path += " HTTP/1.1\r\nhost: " + stranger + "\r\nx:"
			return e.h2(ep, ep.Name)
		}},
		{"path-absolute", "an absolute :path", func(e *env, ep Endpoint) []lab.Field {
			ep.Path = "https://" + stranger + ep.Path
			return e.h2(ep, ep.Name)
		}},
		{"transfer-encoding", "transfer-encoding and connection over HTTP/2", func(e *env, ep Endpoint) []lab.Field {
			return e.h2(ep, ep.Name, lab.Field{Name: "transfer-encoding", Value: "chunked"}, lab.Field{Name: "connection", Value: "keep-alive"})
		}},
		{"upper-case", "a field name in upper case", func(e *env, ep Endpoint) []lab.Field {
			return e.h2(ep, ep.Name, lab.Field{Name: "HOST", Value: stranger})
		}},
	}
	out := []Scenario{
		{"h2-authority-good-host-evil", ":authority is allowed, host is the attacker's", catHTTP2, hostBeside},
		{"h2-scheme", ":scheme is http inside TLS", catHTTP2, wrongScheme},
		{"h2-prior-knowledge", "HTTP/2 without TLS, :authority is the attacker's", catHTTP2, priorKnowledge},
	}
	for _, s := range list {
		out = append(out, Scenario{"h2-" + s.id, s.title, catHTTP2, func(e *env) error {
			ep, dst, err := e.firstAt()
			if err != nil {
				return err
			}
			return e.refused(e.send(probe{dst: dst, tls: hello2(ep.Name), h2: s.fields(e, ep)}))
		}})
	}
	return out
}

// hostBeside: RFC 9113, section 8.3.1 makes :authority the name; the other one
// must not reach the upstream.
func hostBeside(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello2(ep.Name), h2: e.h2(ep, ep.Name, lab.Field{Name: "host", Value: stranger})})
	e.out.Host = fmt.Sprintf("%s + %s", ep.Name, stranger)
	if err := e.harmless(res, ep); err != nil {
		return err
	}
	if seen, ok := e.seen(); ok && (seen.Host == stranger || seen.Header.Get("Host") == stranger) {
		e.out.Result, e.out.Detail = Leak, "the upstream got the attacker's Host"
	}
	return nil
}

func wrongScheme(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	fields := e.h2(ep, ep.Name)
	for i := range fields {
		if fields[i].Name == ":scheme" {
			fields[i].Value = "http"
		}
	}
	return e.harmless(e.send(probe{dst: dst, tls: hello2(ep.Name), h2: fields}), ep)
}

func priorKnowledge(e *env) error {
	dst, err := e.attacker(80, lab.IPv4)
	if err != nil {
		return err
	}
	fields := lab.HTTP2Fields("GET", "http", stranger, "/", lab.Field{Name: "x-lab-token", Value: e.token})
	e.out.Host = stranger
	if e.target.DefaultAllow {
		return errSkip("the policy allows every name by default")
	}
	return e.refused(e.send(probe{dst: dst, h2: fields}))
}
