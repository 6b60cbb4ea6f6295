package xds

import (
	"fmt"
	"net/netip"
)

// digest is FNV-1a over what a filter chain stands for. Envoy keeps the connections of a chain whose bytes do not change,
// and drains those of a chain that does: with the digest in its name a chain changes exactly when what it allows does.
type digest uint64

func newDigest() digest { return 14695981039346656037 }

func (d digest) text(s string) digest {
	for i := range len(s) {
		d = (d ^ digest(s[i])) * 1099511628211
	}
	return (d ^ 0xff) * 1099511628211 // ends the string
}

func (d digest) bytes(b []byte) digest {
	for _, c := range b {
		d = (d ^ digest(c)) * 1099511628211
	}
	return d
}

func (d digest) number(n uint64) digest {
	for range 8 {
		d = (d ^ digest(n&0xff)) * 1099511628211
		n >>= 8
	}
	return d
}

func (d digest) ports(s PortSet) digest {
	for _, r := range s {
		d = d.number(uint64(r.First)<<16 | uint64(r.Last))
	}
	return d.text("ports")
}

func (d digest) prefix(p netip.Prefix) digest {
	a := p.Addr().As16()
	for _, b := range a {
		d = (d ^ digest(b)) * 1099511628211
	}
	return d.number(uint64(p.Bits()))
}

func (d digest) rule(r *Rule) digest {
	d = d.text(r.Name).text(string(r.Action)).text(string(r.Resolution)).ports(r.Ports)
	for _, h := range r.Names {
		d = d.number(uint64(h.Kind)).text(h.Name)
	}
	for _, p := range r.Prefixes {
		d = d.prefix(p)
	}
	for _, m := range r.HTTP {
		d = d.text("http")
		if m.EncodedSlash == AllowEncodedSlash {
			d = d.text("%2F")
		}
		for _, method := range m.Methods {
			d = d.text(method)
		}
		for _, p := range m.Paths {
			d = d.text(string(p.Kind)).text(p.Text)
		}
	}
	return d.text("rule")
}

// String is six hexadecimal digits.
func (d digest) String() string { return fmt.Sprintf("%06x", uint32(d^(d>>32))&0xffffff) }
