package attack

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catFraming = "request smuggling"

// framing hides a second request in the body of the first one. The token is in
// the hidden request only.
func framing() []Scenario {
	list := []struct{ id, title, headers, body string }{
		{"cl-te", "Content-Length and Transfer-Encoding", "Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n%s"},
		{"te-cl", "Transfer-Encoding and a short Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "%x\r\n%s\r\n0\r\n\r\n"},
		{"cl-cl", "two different Content-Lengths", "Content-Length: 0\r\nContent-Length: %d\r\n", "%s"},
		{"cl-list", "Content-Length as a list", "Content-Length: 0, %d\r\n", "%s"},
		{"cl-plus", "Content-Length with a sign", "Content-Length: +%d\r\n", "%s"},
		{"te-unknown", "unknown Transfer-Encoding", "Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n", "%s"},
		{"te-twice", "Transfer-Encoding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n%s"},
		{"te-space", "space before the colon of Transfer-Encoding", "Content-Length: %d\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\n%s"},
		{"te-folded", "folded Transfer-Encoding", "Content-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n%s"},
		{"bare-lf", "bare line feeds between headers", "X-A: b\nTransfer-Encoding: chunked\nContent-Length: %d\r\n", "0\r\n\r\n%s"},
		{"nul", "NUL in a header", "X-A: b\x00c\r\nContent-Length: %d\r\n", "%s"},
	}
	out := []Scenario{{"trace", "TRACE where a header is injected", catFraming, trace}}
	for _, s := range list {
		out = append(out, Scenario{"smuggle-" + s.id, s.title, catFraming, func(e *env) error { return e.smuggle(s.headers, s.body) }})
	}
	return out
}

// smuggle allows every answer, as long as the hidden request for the
// attacker's name is treated as a body or refused.
func (e *env) smuggle(headers, body string) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	hidden := fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", e.token, stranger)
	if strings.Contains(body, "%x") {
		body = fmt.Sprintf(body, len(hidden), hidden)
	} else {
		body = fmt.Sprintf(body, hidden)
	}
	if strings.Contains(headers, "%d") {
		headers = fmt.Sprintf(headers, len(body))
	}
	e.out.Host = display(ep.Name + " + " + stranger)
	raw := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", "POST", ep.Path, ep.Name, headers, body)
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: "POST", raw: []byte(raw)})
	e.out.Expected = "refused, or taken as a body"
	if err := e.judge(res, e.out.Expected, res.Outcome != lab.Timeout, ep.Name); err != nil {
		return err
	}
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		if entry.Kind == lab.HTTP && (strings.Contains(entry.Path, e.token) || entry.Host == stranger) {
			e.out.Result, e.out.Detail = Leak, "the upstream took the body for a request"
		}
	}
	return nil
}

// trace: the answer to TRACE is the request, with the injected header.
func trace(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	if len(ep.Injected) == 0 {
		return errSkip("the policy injects nothing for the first intercepted name")
	}
	ep.Method = http.MethodTrace
	e.out.Host = display(ep.Name)
	raw := lab.HTTP1Request("TRACE", ep.Path, "HTTP/1.1", nil, lab.Field{Name: "Host", Value: ep.Name}, lab.Field{Name: lab.TokenHeader, Value: e.token})
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: "TRACE", raw: raw}))
}
