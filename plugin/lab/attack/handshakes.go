package attack

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catTLS = "TLS"

// handshakes try to keep the name from the proxy, or to be taken for something
// that is not TLS.
func handshakes() []Scenario {
	return []Scenario{
		{"tls-no-sni", "no SNI, Host is the intercepted name", catTLS, func(e *env) error { return e.sni("") }},
		{"tls-sni-address", "SNI is an address, Host is the intercepted name", catTLS, func(e *env) error { return e.sni(lab.Attacker4.String()) }},
		{"tls-sni-address6", "SNI is an IPv6 address", catTLS, func(e *env) error { return e.sni(lab.Attacker6.String()) }},
		{"tls-sni-case", "SNI in upper case", catTLS, upperSNI},
		{"tls-sni-dot", "SNI with a trailing dot", catTLS, rawHello(func(n string) lab.Hello { return lab.Hello{Names: []string{n + "."}} })},
		{"tls-sni-nul", "SNI with a NUL", catTLS, rawHello(func(n string) lab.Hello { return lab.Hello{Names: []string{n + "\x00." + stranger}} })},
		{"tls-sni-two", "two names in the SNI", catTLS, rawHello(func(n string) lab.Hello { return lab.Hello{Names: []string{n, stranger}} })},
		{"tls-sni-empty", "empty name in the SNI", catTLS, rawHello(func(string) lab.Hello { return lab.Hello{Names: []string{""}} })},
		{"tls-segments", "ClientHello in small TCP segments", catTLS, fragmented(lab.TLSOptions{SegmentSize: 7})},
		{"tls-records", "ClientHello in small TLS records", catTLS, fragmented(lab.TLSOptions{RecordSize: 11})},
		{"tls-segments-denied", "denied name in small TCP segments", catTLS, fragmentedDenied(lab.TLSOptions{SegmentSize: 7})},
		{"tls-records-denied", "denied name in small TLS records", catTLS, fragmentedDenied(lab.TLSOptions{RecordSize: 11})},
		{"tls-1.0", "TLS 1.0", catTLS, oldTLS(tls.VersionTLS10)},
		{"tls-1.1", "TLS 1.1", catTLS, oldTLS(tls.VersionTLS11)},
		{"tls-alpn", "unknown ALPN, Host is the attacker's", catTLS, unknownALPN},
		{"tls-late", "late ClientHello for a denied name", catTLS, func(e *env) error { return e.late(0) }},
		{"tls-late-half", "half a ClientHello, the rest late", catTLS, func(e *env) error { return e.late(20) }},
		{"tls-garbage", "a TLS record that is no ClientHello", catTLS, garbage},
		{"tls-plaintext-443", "plaintext HTTP on port 443", catTLS, plaintextOn443},
		{"tls-on-80", "TLS for a denied name on port 80", catTLS, tlsOn80},
	}
}

// sni sends a handshake that names nobody the policy knows to the real address.
func (e *env) sni(sni string) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	if e.target.DefaultAllow {
		return errSkip("the policy allows TLS without a name by default")
	}
	res := e.send(probe{dst: dst, tls: hello1(sni), method: ep.Method, raw: e.h1(ep, ep.Name)})
	return e.closed(res)
}

func upperSNI(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello1(strings.ToUpper(ep.Name)), method: ep.Method, raw: e.h1(ep, ep.Name)})
	return e.arrives(res, ep)
}

// rawHello passes when the proxy closes or answers itself: an upstream's own
// certificate would mean that the odd name was passed through.
func rawHello(hello func(name string) lab.Hello) func(*env) error {
	return func(e *env) error {
		ep, dst, err := e.firstAt()
		if err != nil {
			return err
		}
		h := hello(ep.Name)
		e.out.SNI = display(strings.Join(h.Names, " + "))
		r := e.pod.Hello(e.ctx, dst, h)
		res := lab.Result{Outcome: r.Outcome, Err: r.Err, Peer: r.Peer}
		return e.judge(res, "closed or intercepted", r.Outcome != lab.Timeout && (!r.Peer.FromLabCA() || e.target.DefaultAllow))
	}
}

func fragmented(opts lab.TLSOptions) func(*env) error {
	return func(e *env) error {
		ep, dst, err := e.firstAt()
		if err != nil {
			return err
		}
		own := opts
		own.SNI, own.ALPN = ep.Name, []string{"http/1.1"}
		return e.harmless(e.send(probe{dst: dst, tls: &own, method: ep.Method, raw: e.h1(ep, ep.Name)}), ep)
	}
}

func fragmentedDenied(opts lab.TLSOptions) func(*env) error {
	return func(e *env) error {
		name, err := e.denied()
		if err != nil {
			return err
		}
		dst, err := e.at(Endpoint{Name: name, Port: 443}, lab.IPv4)
		if err != nil {
			return err
		}
		own := opts
		own.SNI, own.ALPN = name, []string{"http/1.1"}
		return e.closed(e.send(probe{dst: dst, tls: &own, method: "GET", raw: e.h1(anyRequest(), name)}))
	}
}

// oldTLS must be refused; an alert is an answer of the proxy itself.
func oldTLS(version uint16) func(*env) error {
	return func(e *env) error {
		ep, dst, err := e.firstAt()
		if err != nil {
			return err
		}
		opts := &lab.TLSOptions{SNI: ep.Name, Min: version, Max: version}
		return e.refused(e.send(probe{dst: dst, tls: opts, method: ep.Method, raw: e.h1(ep, ep.Name)}))
	}
}

func unknownALPN(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	opts := &lab.TLSOptions{SNI: ep.Name, ALPN: []string{"lab/1"}}
	return e.refused(e.send(probe{dst: dst, tls: opts, method: ep.Method, raw: e.h1(ep, stranger)}))
}

func (e *env) inspectorTimeout() time.Duration {
	if e.target.InspectorTimeout > 0 {
		return e.target.InspectorTimeout
	}
	return 2 * time.Second
}

// late waits until an inspector that gives up has given up: what comes then
// must not pass as raw TCP. The first bytes come in time.
func (e *env) late(first int) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	addr, err := e.lab.World.Addr(name, lab.IPv4)
	if err != nil {
		return err
	}
	e.out.SNI = display(name)
	hello, err := lab.Hello{Names: []string{name}, ALPN: []string{e.token}}.Marshal()
	if err != nil {
		return err
	}
	pause := e.inspectorTimeout() + 500*time.Millisecond
	return e.closed(e.raw(netip.AddrPortFrom(addr, 443), pause, hello[:first], hello[first:]))
}

func garbage(e *env) error {
	dst, err := e.attacker(443, lab.IPv4)
	if err != nil {
		return err
	}
	if e.target.DefaultAllow {
		return errSkip("the policy allows every protocol by default")
	}
	res := e.raw(dst, 0, []byte("\x16\x03\x01\x00\x30\x02"+e.token+strings.Repeat("x", 64)))
	return e.judge(res, "refused, nothing leaves", res.Outcome != lab.Timeout)
}

// plaintextOn443: the request may be allowed by its Host, but nothing is
// injected without TLS.
func plaintextOn443(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	return e.harmless(e.send(probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}), ep)
}

func tlsOn80(e *env) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	dst, err := e.at(Endpoint{Name: name, Port: 80}, lab.IPv4)
	if err != nil {
		return err
	}
	return e.closed(e.send(probe{dst: dst, tls: hello1(name), method: "GET", raw: e.h1(anyRequest(), name)}))
}
