package xds

import (
	"net/netip"
	"slices"
)

// privatePrefixes are refused for names whose rule wants public addresses. Documentation ranges are not among them: they
// are nobody's private network.
func privatePrefixes() []netip.Prefix {
	return prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4",
		"fc00::/7", "fec0::/10", "2002::/16", "2001::/32", "64:ff9b:1::/48",
		"64:ff9b::a00:0/104", "64:ff9b::ac10:0/108", "64:ff9b::c0a8:0/112", "64:ff9b::6440:0/106",
	)
}

// privateRanges are privatePrefixes and those of the organisation: nothing takes away from the former. An address of IPv4 is
// refused as what NAT64 makes of it too (RFC 6052).
func privateRanges(own []netip.Prefix) []netip.Prefix {
	out := privatePrefixes()
	for _, p := range own {
		out = append(out, p)
		if p.Addr().Is4() {
			nat64, v4 := [16]byte{0, 0x64, 0xff, 0x9b}, p.Addr().As4()
			copy(nat64[12:], v4[:])
			out = append(out, netip.PrefixFrom(netip.AddrFrom16(nat64), 96+p.Bits()))
		}
	}
	return out
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

func anyContains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return addr.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
