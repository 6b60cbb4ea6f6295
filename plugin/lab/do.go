package lab

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Request is one request of the workload on a connection of its own.
type Request struct {
	// Name fills in what is left empty below: Dst (its address, port 443 or
	// 80), SNI and Host.
	Name string
	// V6 prefers the IPv6 address of Name.
	V6 bool
	// Dst is what the client connects to, whatever SNI and Host say.
	Dst netip.AddrPort
	TLS bool
	// SNI is sent when TLS is set; "-" means none although Name is set.
	SNI string
	// Host is the Host header or :authority; "-" means none.
	Host   string
	Method string // empty means GET
	Path   string // empty means /
	HTTP2  bool
	// Raw sends something that is not HTTP instead of a request.
	Raw    bool
	Header []Field
	Body   []byte
	// Timeout bounds everything; 0 means 5 s.
	Timeout time.Duration
}

// NewToken returns a text that occurs nowhere else.
func NewToken() string { return "t" + strings.ToLower(rand.Text()[:16]) }

// Do sends r from the pod and reports what the client got and what the
// Internet saw. It may be called concurrently; eight callers at a time reach
// several hundred requests per second.
func (p *Pod) Do(ctx context.Context, r Request) Result {
	if err := p.complete(&r); err != nil {
		return Result{Outcome: Broken, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	mark := p.lab.Ledger.Mark()
	res := r.send(ctx, p.Open)
	p.attribute(&res, r, mark)
	return res
}

// Do sends r from where this process is, such as a container in a cluster, to r.Dst. What the Internet saw is in its ledger,
// under the token.
func (r Request) Do(ctx context.Context) Result {
	r.setDefaults()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.send(ctx, func(ctx context.Context, dst netip.AddrPort, opts *TLSOptions) (*Session, Outcome, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", dst.String())
		if err != nil {
			return nil, classify(err), err
		}
		return newSession(ctx, c, opts)
	})
}

func (r Request) send(ctx context.Context, open func(context.Context, netip.AddrPort, *TLSOptions) (*Session, Outcome, error)) Result {
	token := NewToken()
	s, outcome, err := open(ctx, r.Dst, r.tls())
	if err != nil {
		return Result{Outcome: outcome, Err: err, Token: token}
	}
	defer func() { _ = s.Close() }()
	var res Result
	switch {
	case r.Raw:
		res = s.doRaw(ctx, token)
	case r.HTTP2:
		res = s.doHTTP2(r, token)
	default:
		res = s.doHTTP1(r, token)
	}
	res.Token = token
	return res
}

func (r *Request) setDefaults() {
	if r.Timeout == 0 {
		r.Timeout = 5 * time.Second
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Path == "" {
		r.Path = "/"
	}
	if r.SNI == "" {
		r.SNI = r.Name
	}
	if r.Host == "" {
		r.Host = r.Name
	}
}

func (p *Pod) complete(r *Request) error {
	r.setDefaults()
	if r.Dst.IsValid() {
		return nil
	}
	family := IPv4
	if r.V6 {
		family = IPv6
	}
	addr, err := p.lab.World.Addr(r.Name, family)
	if err != nil {
		return fmt.Errorf("choose a destination: %w", err)
	}
	port := uint16(80)
	if r.TLS {
		port = 443
	}
	r.Dst = netip.AddrPortFrom(addr, port)
	return nil
}

func (r Request) tls() *TLSOptions {
	if !r.TLS {
		return nil
	}
	opts := &TLSOptions{SNI: strings.TrimPrefix(r.SNI, "-"), ALPN: []string{"http/1.1"}}
	if r.HTTP2 {
		opts.ALPN = []string{"h2"}
	}
	if r.Raw {
		opts.ALPN = nil
	}
	return opts
}

func (s *Session) doHTTP1(r Request, token string) Result {
	fields := append([]Field{{TokenHeader, token}, {"Connection", "close"}}, r.Header...)
	if r.Host != "-" {
		fields = append([]Field{{"Host", r.Host}}, fields...)
	}
	return s.HTTP1().Send(r.Method, HTTP1Request(r.Method, r.Path, "HTTP/1.1", r.Body, fields...))
}

func (s *Session) doHTTP2(r Request, token string) Result {
	c, err := s.HTTP2()
	if err != nil {
		return Result{Outcome: classify(err), Err: err, Peer: s.Peer}
	}
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	fields := HTTP2Fields(r.Method, scheme, strings.TrimPrefix(r.Host, "-"), r.Path, Field{strings.ToLower(TokenHeader), token})
	for _, f := range r.Header {
		fields = append(fields, Field{strings.ToLower(f.Name), f.Value})
	}
	return c.Send(r.Body, fields...)
}

// doRaw sends a line that is not HTTP and waits for its echo.
func (s *Session) doRaw(ctx context.Context, token string) Result {
	out := Result{Peer: s.Peer, TLSVersion: s.Version, ALPN: s.ALPN}
	_, err := fmt.Fprintf(s, "~%s\n", token)
	buf := make([]byte, 512)
	for err == nil && ctx.Err() == nil && !strings.Contains(string(out.Body), token) {
		var n int
		n, err = s.Read(buf)
		out.Body = append(out.Body, buf[:n]...)
	}
	out.Outcome, out.Err = classify(err), err
	if strings.Contains(string(out.Body), token) {
		out.Outcome, out.Err = Answered, nil
	} else if len(out.Body) > 0 {
		out.Outcome = Broken
	}
	return out
}

// attribute finds the upstream that got the token.
func (p *Pod) attribute(res *Result, r Request, mark uint64) {
	if !r.Raw {
		if e, ok := p.lab.Ledger.Request(res.Token); ok {
			res.Upstream = &e
		}
		return
	}
	for _, e := range p.lab.Ledger.Since(mark) {
		if e.Kind == Connection && e.Mentions(res.Token) {
			res.Upstream = &e
			return
		}
	}
}
