package attack

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catOpen = "beyond a proxy"

// open are the rows that no proxy can close. They are really tried: a row is
// OPEN because the attack arrived, and PASS if it did not.
func open() []Scenario {
	return []Scenario{
		{"open-passthrough-host", "another Host inside passed-through TLS", catOpen, insidePassthrough},
		{"open-ech", "encrypted ClientHello inside a passed-through name", catOpen, passthroughECH},
		{"ech-intercepted", "encrypted ClientHello to an intercepted name", catOpen, interceptedECH},
		{"open-dns-tunnel", "data in queries to the allowed resolver", catOpen, dnsTunnel},
	}
}

const (
	adviceIntercept = "add the name to mitm.domains: inside TLS that is passed through the proxy sees nothing but the SNI"
	adviceResolver  = "use a resolver that answers for allowed names only, or watch its logs"
)

func insidePassthrough(e *env) error {
	ep, err := e.passthrough()
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, stranger)})
	return e.arrived(res, adviceIntercept, ep.Name)
}

// arrived reports OPEN when the token came through to one of names.
func (e *env) arrived(res lab.Result, advice string, names ...string) error {
	if err := e.judge(res, "cannot be closed by a proxy", true, names...); err != nil || e.out.Result == Leak {
		return err
	}
	if _, ok := e.seen(); ok {
		e.out.Result, e.out.Advice = Open, advice
	}
	return nil
}

// ech makes the upstreams accept encrypted ClientHellos for publicName and
// returns the list that a client needs.
func (e *env) ech(publicName string) ([]byte, error) {
	key, list, err := lab.NewECH(publicName)
	if err != nil {
		return nil, err
	}
	e.lab.World.OfferECH(key)
	return list, nil
}

func passthroughECH(e *env) error {
	ep, err := e.passthrough()
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	list, err := e.ech(ep.Name)
	if err != nil {
		return err
	}
	defer e.lab.World.OfferECH()
	opts := &lab.TLSOptions{SNI: stranger, ALPN: []string{"http/1.1"}, ECH: list}
	res := e.send(probe{dst: dst, tls: opts, method: ep.Method, raw: e.h1(ep, stranger)})
	e.out.SNI = fmt.Sprintf("%s (inside: %s)", ep.Name, stranger)
	return e.arrived(res, adviceIntercept, ep.Name)
}

// interceptedECH: the proxy ends the outer handshake, so the inner name never
// comes into play and the client notices.
func interceptedECH(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	list, err := e.ech(ep.Name)
	if err != nil {
		return err
	}
	defer e.lab.World.OfferECH()
	opts := &lab.TLSOptions{SNI: stranger, ALPN: []string{"http/1.1"}, ECH: list}
	res := e.send(probe{dst: dst, tls: opts, method: ep.Method, raw: e.h1(ep, stranger)})
	e.out.SNI = fmt.Sprintf("%s (inside: %s)", ep.Name, stranger)
	return e.refused(res)
}

// dnsTunnel asks the pod's own resolver, which has to be reachable.
func dnsTunnel(e *env) error {
	query, err := new(dns.Msg).SetQuestion(e.token+"."+stranger+".", dns.TypeTXT).Pack()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	c, err := e.pod.DialUDP(ctx, netip.AddrPortFrom(e.lab.Resolvers()[0], 53))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	e.out.Host, e.out.Expected, e.out.Got = e.token+"."+stranger, "cannot be closed by a proxy", "no answer"
	if _, err := c.Write(query); err != nil {
		return fmt.Errorf("ask the resolver: %w", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return fmt.Errorf("the pod's own resolver does not answer: %w", err)
	}
	e.out.Host, e.out.Got, e.out.Result, e.out.Advice = "(data)."+stranger, "answered", Open, adviceResolver
	return nil
}
