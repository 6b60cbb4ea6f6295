package attack

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// settle is how long the Internet is watched after the client got its answer.
const settle = 60 * time.Millisecond

// limit bounds one exchange.
const limit = 4 * time.Second

// env is what one scenario works with.
type env struct {
	ctx    context.Context
	lab    *lab.Lab
	pod    *lab.Pod
	target Target
	mark   uint64
	// token is in every request; where it turns up, the request has been.
	token string
	names misleader
	out   Outcome
}

// intercepted returns the nth intercepted name.
func (e *env) intercepted(n int) (Endpoint, error) {
	if n < len(e.target.Intercepted) {
		return e.target.Intercepted[n], nil
	}
	if n == 0 {
		return Endpoint{}, errSkip("the policy intercepts no name with a permitted request")
	}
	return Endpoint{}, errSkip("the policy intercepts one name only")
}

func (e *env) passthrough() (Endpoint, error) {
	if len(e.target.Passthrough) == 0 {
		return Endpoint{}, errSkip("the policy passes no name through")
	}
	return e.target.Passthrough[0], nil
}

func (e *env) plaintext() (Endpoint, error) {
	if len(e.target.Plaintext) == 0 {
		return Endpoint{}, errSkip("the policy allows no name over plaintext HTTP")
	}
	return e.target.Plaintext[0], nil
}

func (e *env) denied() (string, error) {
	if e.target.Denied == "" {
		return "", errSkip("the policy denies no name")
	}
	return e.target.Denied, nil
}

// at is the endpoint's own address and port.
func (e *env) at(ep Endpoint, family lab.Family) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(ep.Name); err == nil {
		return netip.AddrPortFrom(a, ep.Port), nil
	}
	if family == lab.IPv6 && !e.lab.IPv6 {
		return netip.AddrPort{}, errNoIPv6
	}
	a, err := e.lab.World.Addr(ep.Name, family)
	return netip.AddrPortFrom(a, ep.Port), err
}

// attacker is an address that belongs to nobody the policy knows.
func (e *env) attacker(port uint16, family lab.Family) (netip.AddrPort, error) {
	if family == lab.IPv4 {
		return netip.AddrPortFrom(lab.Attacker4, port), nil
	}
	if !e.lab.IPv6 {
		return netip.AddrPort{}, errNoIPv6
	}
	return netip.AddrPortFrom(lab.Attacker6, port), nil
}

// version is that of HTTP.
type version string

const (
	http1 version = "HTTP/1.1"
	http2 version = "HTTP/2"
)

// transport is what a request goes over.
type transport string

const (
	overTLS   transport = "TLS"
	plaintext transport = "plaintext"
)

// over asks ep for host over intercepted TLS.
func (e *env) over(v version, dst netip.AddrPort, ep Endpoint, host string) probe {
	if v == http2 {
		return probe{dst: dst, tls: hello2(ep.Name), h2: e.h2(ep, host)}
	}
	return probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, host)}
}

// probe is one connection with one request on it.
type probe struct {
	dst    netip.AddrPort
	tls    *lab.TLSOptions // nil: without TLS
	method string
	raw    []byte      // HTTP/1
	h2     []lab.Field // HTTP/2, when raw is nil
}

// send makes the connection and the request, and notes the SNI of the row.
func (e *env) send(p probe) lab.Result {
	if p.tls != nil {
		e.out.SNI = display(p.tls.SNI)
	}
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	s, outcome, err := e.pod.Open(ctx, p.dst, p.tls)
	if err != nil {
		return lab.Result{Outcome: outcome, Err: err}
	}
	defer func() { _ = s.Close() }()
	if p.raw != nil {
		return s.HTTP1().Send(p.method, p.raw)
	}
	c, err := s.HTTP2()
	if err != nil {
		return lab.Result{Outcome: lab.Broken, Err: err, Peer: s.Peer}
	}
	// Envoy says goodbye to invalid requests and closes a second later.
	c.Patience = 300 * time.Millisecond
	res := c.Send(nil, p.h2...)
	if res.Outcome == lab.Timeout && c.GoneAway {
		res.Outcome = lab.Closed
	}
	return res
}

// h1 is the permitted request of ep with another Host.
func (e *env) h1(ep Endpoint, host string, more ...lab.Field) []byte {
	e.out.Host = display(host)
	fields := append([]lab.Field{{Name: "Host", Value: host}}, more...)
	return e.request(ep, ep.Path, "HTTP/1.1", fields...)
}

// request builds HTTP/1 bytes with the token and exactly these other fields.
func (e *env) request(ep Endpoint, target, version string, fields ...lab.Field) []byte {
	fields = append(fields, lab.Field{Name: lab.TokenHeader, Value: e.token})
	if ep.Method != "GET" && ep.Method != "HEAD" {
		fields = append(fields, lab.Field{Name: "Content-Length", Value: "0"})
	}
	return lab.HTTP1Request(ep.Method, target, version, nil, fields...)
}

// h2 is the permitted request of ep with another :authority.
func (e *env) h2(ep Endpoint, authority string, more ...lab.Field) []lab.Field {
	e.out.Host = display(authority)
	more = append(more, lab.Field{Name: strings.ToLower(lab.TokenHeader), Value: e.token})
	return lab.HTTP2Fields(ep.Method, "https", authority, ep.Path, more...)
}

func hello1(sni string) *lab.TLSOptions {
	return &lab.TLSOptions{SNI: sni, ALPN: []string{"http/1.1"}}
}

func hello2(sni string) *lab.TLSOptions {
	return &lab.TLSOptions{SNI: sni, ALPN: []string{"h2"}}
}

// raw sends bytes that are no request, and reads what comes back.
func (e *env) raw(dst netip.AddrPort, pause time.Duration, chunks ...[]byte) lab.Result {
	ctx, cancel := context.WithTimeout(e.ctx, limit+pause*time.Duration(len(chunks)))
	defer cancel()
	r := e.pod.Raw(ctx, dst, time.Second, pause, chunks...)
	return lab.Result{Outcome: r.Outcome, Body: r.Data, Err: r.Err}
}

// display makes control characters visible and shows what is empty.
func display(s string) string {
	if s == "" {
		return "(none)"
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}

func authority(ep Endpoint) string {
	if strings.Contains(ep.Name, ":") {
		return "[" + ep.Name + "]"
	}
	return ep.Name
}

// firstAt is the first intercepted name with its IPv4 address.
func (e *env) firstAt() (Endpoint, netip.AddrPort, error) {
	ep, err := e.intercepted(0)
	if err != nil {
		return ep, netip.AddrPort{}, err
	}
	dst, err := e.at(ep, lab.IPv4)
	return ep, dst, err
}
