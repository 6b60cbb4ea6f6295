package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
)

// HostKind says how a Host matches.
type HostKind int

// The kinds of hosts.
const (
	// HostExact is one name.
	HostExact HostKind = iota + 1
	// HostSuffix is "*.x": one or more labels below x, as in the Gateway API.
	HostSuffix
	// HostAny is "*": any visible name.
	HostAny
	// HostIP is a destination address.
	HostIP
)

// Host is an entry of rules[].hosts or mitm.passthroughDomains. Equal hosts mean the same.
//
// +kubebuilder:object:generate=false
type Host struct {
	Kind HostKind
	// Name has A-labels in lower case without trailing dot; for HostSuffix also without "*.". Empty for the other kinds.
	Name string
	// Addr is set for HostIP, IPv4 in IPv6 as IPv4.
	Addr netip.Addr
}

// ParseHost reads a name, "*.x", "*" or an IP literal, with or without brackets.
func ParseHost(s string) (Host, error) {
	host, err := parseHost(s)
	if err != nil {
		return Host{}, fmt.Errorf("host %q: %w", s, err)
	}
	return host, nil
}

func parseHost(s string) (Host, error) {
	if s == "*" {
		return Host{Kind: HostAny}, nil
	}
	if addr, isAddr, err := parseLiteral(s); isAddr {
		if err != nil {
			return Host{}, err
		}
		return Host{Kind: HostIP, Addr: addr}, nil
	}
	rest, isSuffix := strings.CutPrefix(s, "*.")
	name, err := normalizeName(rest)
	if err != nil {
		return Host{}, err
	}
	if !isSuffix {
		return Host{Kind: HostExact, Name: name}, nil
	}
	return Host{Kind: HostSuffix, Name: name}, checkWildcard(name)
}

// String is the canonical spelling; ParseHost of it is the same host.
func (h Host) String() string {
	switch h.Kind {
	case HostExact:
		return h.Name
	case HostSuffix:
		return "*." + h.Name
	case HostAny:
		return "*"
	case HostIP:
		return h.Addr.String()
	}
	return ""
}

// Matches reports whether the host means a name that NormalizeName returned, or an address as netip writes it.
func (h Host) Matches(name string) bool {
	switch h.Kind {
	case HostExact:
		return name == h.Name
	case HostSuffix:
		return below(name, h.Name)
	case HostAny:
		return name != "" && !isAddress(name)
	case HostIP:
		return name == h.Addr.String()
	}
	return false
}

// Covers reports whether h means everything that o means.
func (h Host) Covers(o Host) bool {
	switch {
	case h == o:
		return true
	case h.Kind == HostAny:
		return o.Kind == HostExact || o.Kind == HostSuffix
	case h.Kind == HostSuffix:
		return (o.Kind == HostExact || o.Kind == HostSuffix) && below(o.Name, h.Name)
	}
	return false
}

// CoversDomain reports whether h means every name or address of an intercepted domain.
func (h Host) CoversDomain(d Domain) bool {
	switch {
	case d.Addr.IsValid():
		return h.Kind == HostIP && h.Addr == d.Addr
	case d.Wildcard:
		return h.Covers(Host{Kind: HostSuffix, Name: d.Name})
	}
	return h.Covers(Host{Kind: HostExact, Name: d.Name})
}

// below reports whether name has one or more labels in front of suffix.
func below(name, suffix string) bool {
	head, ok := strings.CutSuffix(name, suffix)
	return ok && len(head) > 1 && head[len(head)-1] == '.'
}

// isAddress looks before it parses: the error of a name would be thrown away.
func isAddress(s string) bool {
	if s == "" || !strings.Contains(s, ":") && (s[len(s)-1] < '0' || s[len(s)-1] > '9') {
		return false
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}
