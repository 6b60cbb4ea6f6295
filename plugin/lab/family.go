package lab

import (
	"fmt"
	"net/netip"
)

// Family is an address family.
type Family int

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

// familyOf takes an IPv4 address in IPv6 for what it is written as.
func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// families are both, or IPv4 alone on a kernel, or in a pod, without IPv6.
func (l *Lab) families() []Family {
	if l.IPv6 {
		return []Family{IPv4, IPv6}
	}
	return []Family{IPv4}
}
