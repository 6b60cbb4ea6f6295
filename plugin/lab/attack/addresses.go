package attack

import (
	"net/netip"
	"strconv"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catAddress = "foreign addresses"

// Metadata services of clouds (AWS, Google, Azure and others; AWS over IPv6).
var metadata = []netip.Addr{netip.AddrFrom4([4]byte{169, 254, 169, 254}), netip.MustParseAddr("fd00:ec2::254")}

// addresses connect to where the attacker is, under an allowed name or none.
func addresses() []Scenario {
	out := []Scenario{
		{"addr-metadata", "the metadata address, plaintext HTTP", catAddress, func(e *env) error { return e.plainTo(netip.AddrPortFrom(metadata[0], 80), metadata[0].String()) }},
		{"addr-metadata-name", "the metadata address, Host is an allowed name", catAddress, metadataName},
		{"addr-metadata6", "the metadata address over IPv6", catAddress, func(e *env) error {
			if !e.lab.IPv6 {
				return errNoIPv6
			}
			return e.plainTo(netip.AddrPortFrom(metadata[1], 80), "["+metadata[1].String()+"]")
		}},
	}
	for _, family := range []lab.Family{lab.IPv4, lab.IPv6} {
		suffix, name := strconv.Itoa(int(family)), family.String()
		out = append(out,
			Scenario{"addr-intercepted-" + suffix, "intercepted name at the attacker's address, " + name, catAddress, func(e *env) error {
				ep, err := e.intercepted(0)
				return e.spoof(ep, err, family, overTLS)
			}},
			Scenario{"addr-passthrough-" + suffix, "passed-through name at the attacker's address, " + name, catAddress, func(e *env) error {
				ep, err := e.passthrough()
				return e.spoof(ep, err, family, overTLS)
			}},
			Scenario{"addr-plaintext-" + suffix, "allowed Host at the attacker's address, " + name, catAddress, func(e *env) error {
				ep, err := e.plaintext()
				return e.spoof(ep, err, family, plaintext)
			}},
			Scenario{"addr-raw-" + suffix, "raw TCP to the attacker, " + name, catAddress, func(e *env) error { return e.rawTo(9999, family) }},
			Scenario{"addr-ssh-" + suffix, "a server-first protocol at the attacker, " + name, catAddress, func(e *env) error { return e.rawTo(22, family) }},
			Scenario{"addr-tls-" + suffix, "TLS without a name to the attacker, " + name, catAddress, func(e *env) error { return e.tlsTo(family) }},
			Scenario{"addr-http-" + suffix, "plaintext HTTP to the attacker, Host is the address, " + name, catAddress, func(e *env) error {
				dst, err := e.attacker(80, family)
				if err != nil {
					return err
				}
				return e.plainTo(dst, authority(Endpoint{Name: dst.Addr().String()}))
			}},
		)
	}
	return out
}

// spoof: the name must lead to its own host, whatever address the client chose.
func (e *env) spoof(ep Endpoint, err error, family lab.Family, how transport) error {
	if err != nil {
		return err
	}
	dst, err := e.attacker(ep.Port, family)
	if err != nil {
		return err
	}
	p := probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}
	if how == overTLS {
		p.tls = hello1(ep.Name)
	}
	if err := e.harmless(e.send(p), ep); err != nil {
		return err
	}
	if e.out.Result == Leak && (ep.TrustsClient || e.target.DefaultAllow) {
		e.out.Result = Open
		e.out.Advice = "the rule keeps the client's address; use `resolution: Public` and default Deny, or a cidr rule"
	}
	return nil
}

func (e *env) byDefault() error {
	if e.target.DefaultAllow {
		return errSkip("the policy allows every destination by default")
	}
	return nil
}

func (e *env) rawTo(port uint16, family lab.Family) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(port, family)
	if err != nil {
		return err
	}
	return e.judgeRaw(e.raw(dst, 0, []byte("~"+e.token+"\n")), dst)
}

// judgeRaw also counts a connection without data: its existence is a signal.
func (e *env) judgeRaw(res lab.Result, dst netip.AddrPort) error {
	ok := res.ClosedWithoutByte() || res.Outcome == lab.Refused
	if res.Outcome == lab.Timeout && len(res.Body) == 0 {
		ok = true // an inspector that waits for more; nothing has left
		e.out.Got = "no answer"
	}
	if err := e.judge(res, "closed, nothing leaves", ok); err != nil {
		return err
	}
	for _, entry := range e.lab.Ledger.Since(e.mark) {
		if entry.Kind == lab.Connection && entry.To == dst {
			e.out.Result, e.out.Detail = Leak, "a connection to "+dst.String()+" was made"
		}
	}
	return nil
}

func (e *env) tlsTo(family lab.Family) error {
	if err := e.byDefault(); err != nil {
		return err
	}
	dst, err := e.attacker(443, family)
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello1(""), method: "GET", raw: e.h1(anyRequest(), stranger)})
	return e.closed(res)
}

// plainTo sends HTTP to an address that no rule names.
func (e *env) plainTo(dst netip.AddrPort, host string) error {
	linkLocal := dst.Addr().IsLinkLocalUnicast() || dst.Addr() == metadata[1]
	if !linkLocal {
		if err := e.byDefault(); err != nil {
			return err
		}
	}
	res := e.send(probe{dst: dst, method: "GET", raw: e.h1(anyRequest(), host)})
	ok := res.Status == 403 || res.Status == 404 || res.ClosedWithoutByte()
	return e.judge(res, "403 or closed, nothing leaves", ok)
}

func metadataName(e *env) error {
	ep, err := e.plaintext()
	if err != nil {
		return err
	}
	dst := netip.AddrPortFrom(metadata[0], ep.Port)
	return e.harmless(e.send(probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}), ep)
}
