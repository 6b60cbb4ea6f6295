package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ParseCIDR reads a prefix or a bare address, which is a /32 or /128. Host bits are cleared; IPv4 in IPv6
// (::ffff:192.0.2.0/120) becomes IPv4.
func ParseCIDR(s string) (netip.Prefix, error) {
	prefix, err := parseCIDR(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cidr %q: %w", s, err)
	}
	return prefix, nil
}

func parseCIDR(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := parseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, cidrHint(s)
	}
	return unmapPrefix(prefix)
}

func cidrHint(s string) error {
	address, _, _ := strings.Cut(s, "/")
	addr, err := parseAddr(address)
	if err != nil {
		return err
	}
	return fmt.Errorf("bad prefix length; write /0 to /%d", addr.BitLen())
}

func unmapPrefix(prefix netip.Prefix) (netip.Prefix, error) {
	const mapped = 96 // bits of ::ffff:0:0/96
	if !prefix.Addr().Is4In6() {
		return prefix.Masked(), nil
	}
	if prefix.Bits() < mapped {
		return netip.Prefix{}, errors.New("wider than IPv4 in IPv6; write the IPv4 prefix")
	}
	return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped).Masked(), nil
}

// parseAddr reads one address without brackets, in the one notation that everybody reads alike.
func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, errors.New("not an address; write four decimal numbers without leading zeros, or IPv6")
	}
	if addr.Zone() != "" {
		return netip.Addr{}, errors.New("an address with a zone; remove the % and what follows")
	}
	return addr.Unmap(), nil
}

// parseLiteral reads an IP literal as hosts and URLs have it: IPv6 may stand in brackets. The second result says whether
// s is meant as an address at all.
func parseLiteral(s string) (netip.Addr, bool, error) {
	inner, bracketed := unbracket(s)
	if !bracketed && !isAddress(s) {
		return netip.Addr{}, false, nil
	}
	addr, err := parseAddr(inner)
	if err != nil {
		return netip.Addr{}, true, err
	}
	if bracketed && !strings.Contains(inner, ":") {
		return netip.Addr{}, true, errors.New("brackets belong around IPv6 only; remove them")
	}
	return addr, true, checkDestination(addr)
}

func unbracket(s string) (string, bool) {
	if len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1], true
	}
	return s, false
}

// checkDestination refuses addresses that nothing can connect to as written: 0.0.0.0 is this host on Linux.
func checkDestination(addr netip.Addr) error {
	if addr.IsUnspecified() || addr.IsMulticast() {
		return errors.New("not the address of one host; write the one to connect to")
	}
	return nil
}
