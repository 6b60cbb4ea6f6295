package v1alpha1

import (
	"net/netip"
	"strings"
)

// hostSet answers for many hosts at once what Host.Covers and Host.Matches answer for one, in time linear in the labels
// of the question.
//
// +kubebuilder:object:generate=false
type hostSet struct {
	exact    map[string]bool
	suffix   map[string]bool
	addr     map[netip.Addr]bool
	anything bool
	// parents has every x of which a member is exactly one label below.
	parents map[string]bool
}

func newHostSet() *hostSet {
	return &hostSet{
		exact: map[string]bool{}, suffix: map[string]bool{}, addr: map[netip.Addr]bool{}, parents: map[string]bool{},
	}
}

func (s *hostSet) add(h Host) {
	switch h.Kind {
	case HostExact:
		s.exact[h.Name] = true
		_, parent, _ := strings.Cut(h.Name, ".")
		s.parents[parent] = true
	case HostSuffix:
		s.suffix[h.Name] = true
	case HostAny:
		s.anything = true
	case HostIP:
		s.addr[h.Addr] = true
	}
}

// covers reports whether a single member means everything that h means.
func (s *hostSet) covers(h Host) bool {
	switch h.Kind {
	case HostExact:
		return s.anything || s.exact[h.Name] || s.suffixAbove(h.Name)
	case HostSuffix:
		return s.anything || s.suffix[h.Name] || s.suffixAbove(h.Name)
	case HostAny:
		return s.anything
	case HostIP:
		return s.addr[h.Addr]
	}
	return false
}

// suffixAbove reports whether some "*.x" has name below x.
func (s *hostSet) suffixAbove(name string) bool {
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if s.suffix[rest] {
			return true
		}
		name = rest
	}
}

// meets reports whether some member has a name or address in common with an intercepted domain.
func (s *hostSet) meets(d Domain) bool {
	return s.covers(d.Host()) || d.Wildcard && s.parents[d.Name]
}

// domainSet answers the same kind of questions about intercepted domains.
//
// +kubebuilder:object:generate=false
type domainSet struct {
	names     map[string]bool
	wildcards map[string]bool
	addrs     map[netip.Addr]bool
	// above has every x for which "*.x" has a name in common with a domain.
	above map[string]bool
}

func newDomainSet() *domainSet {
	return &domainSet{
		names: map[string]bool{}, wildcards: map[string]bool{}, addrs: map[netip.Addr]bool{}, above: map[string]bool{},
	}
}

func (s *domainSet) add(d Domain) {
	switch {
	case d.Addr.IsValid():
		s.addrs[d.Addr] = true
		return
	case d.Wildcard:
		s.wildcards[d.Name] = true
		s.above[d.Name] = true
	default:
		s.names[d.Name] = true
	}
	for _, rest, ok := strings.Cut(d.Name, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
		s.above[rest] = true
	}
}

// meets reports whether some domain has a name or address in common with h.
func (s *domainSet) meets(h Host) bool {
	switch h.Kind {
	case HostAny:
		return len(s.names)+len(s.wildcards) > 0
	case HostSuffix:
		return s.above[h.Name]
	}
	return s.covers(h)
}

// covers reports whether everything that h means is intercepted. A suffix never is: a wildcard stands for one label.
func (s *domainSet) covers(h Host) bool {
	switch h.Kind {
	case HostExact:
		_, parent, _ := strings.Cut(h.Name, ".")
		return s.names[h.Name] || s.wildcards[parent]
	case HostIP:
		return s.addrs[h.Addr]
	}
	return false
}
