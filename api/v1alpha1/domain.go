package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Domain is an entry of mitm.domains. Equal domains mean the same.
//
// +kubebuilder:object:generate=false
type Domain struct {
	// Name has A-labels in lower case without trailing dot and without "*.". Empty for an address.
	Name string
	// Wildcard stands for exactly one label in front of Name, as in a certificate (RFC 9525).
	Wildcard bool
	// Addr is set for an address, IPv4 in IPv6 as IPv4.
	Addr netip.Addr
}

// ParseDomain reads a name, a wildcard for one label, an address, a /32 or a /128.
func ParseDomain(s string) (Domain, error) {
	domain, err := parseDomain(s)
	if err != nil {
		return Domain{}, fmt.Errorf("domain %q: %w", s, err)
	}
	return domain, nil
}

func parseDomain(s string) (Domain, error) {
	if s == "*" {
		return Domain{}, errors.New("every name; a certificate cannot stand for that, write the names or *.example.com")
	}
	if strings.Contains(s, "/") && !strings.Contains(s, "://") {
		return parseSingleHost(s)
	}
	host, err := parseHost(s)
	if err != nil {
		return Domain{}, err
	}
	return Domain{Name: host.Name, Wildcard: host.Kind == HostSuffix, Addr: host.Addr}, nil
}

func parseSingleHost(s string) (Domain, error) {
	prefix, err := parseCIDR(s)
	if err != nil {
		return Domain{}, err
	}
	if !prefix.IsSingleIP() {
		return Domain{}, errors.New("a network; a certificate has single addresses only, write /32 or /128 for each")
	}
	return Domain{Addr: prefix.Addr()}, checkDestination(prefix.Addr())
}

// String is the canonical spelling; ParseDomain of it is the same domain.
func (d Domain) String() string {
	switch {
	case d.Addr.IsValid():
		return d.Addr.String()
	case d.Wildcard:
		return "*." + d.Name
	}
	return d.Name
}

// SAN is the domain as a subject alternative name: a DNS name, possibly a wildcard, or an address.
func (d Domain) SAN() string { return d.String() }

// Matches reports whether a name that NormalizeName returned, or an address as netip writes it, is intercepted.
func (d Domain) Matches(name string) bool {
	switch {
	case d.Addr.IsValid():
		return name == d.Addr.String()
	case d.Wildcard:
		label, rest, ok := strings.Cut(name, ".")
		return ok && label != "" && rest == d.Name
	}
	return name != "" && name == d.Name
}

// Host is the narrowest Host that means at least this domain.
func (d Domain) Host() Host {
	switch {
	case d.Addr.IsValid():
		return Host{Kind: HostIP, Addr: d.Addr}
	case d.Wildcard:
		return Host{Kind: HostSuffix, Name: d.Name}
	}
	return Host{Kind: HostExact, Name: d.Name}
}
