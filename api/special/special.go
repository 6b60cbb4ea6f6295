// Package special lists the addresses that no name and no default reaches. It stands alone, so that the init container has
// the same list as the proxy's configuration without linking what renders that.
package special

import "net/netip"

// Prefixes are reached only by a rule with an address: the machine itself, its link, cloud metadata, and forms of
// IPv6 that carry one of them (RFC 6890, RFC 6052, RFC 3056; the metadata services of AWS, Azure, Alibaba and Oracle).
func Prefixes() []netip.Prefix {
	texts := []string{
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
		"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
		"::/128", "::1/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "::ffff:0:0/96",
		"64:ff9b::/104", "64:ff9b::7f00:0/104", "64:ff9b::a9fe:0/112", "2002:7f00::/24", "2002:a9fe::/32",
	}
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}
