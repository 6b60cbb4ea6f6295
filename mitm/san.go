package mitm

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxName is the longest DNS name, RFC 1035 section 2.3.4, as text without the final dot.
const maxName = 253

// sanSet is a sorted set of subject alternative names.
type sanSet struct {
	names []string
	addrs []netip.Addr
}

// parseSANs takes domains verbatim, but for the case of names and for IPv4 addresses written as IPv6, which mean the same.
func parseSANs(domains []string) (sanSet, error) {
	var set sanSet
	for _, d := range domains {
		if addr, err := netip.ParseAddr(d); err == nil {
			if addr.Zone() != "" {
				return sanSet{}, fmt.Errorf("domain %q: an address with a zone cannot be in a certificate", d)
			}
			set.addrs = append(set.addrs, addr.Unmap())
			continue
		}
		if err := checkName(d); err != nil {
			return sanSet{}, fmt.Errorf("domain %q: %w", d, err)
		}
		set.names = append(set.names, strings.ToLower(d))
	}
	if len(set.names)+len(set.addrs) == 0 {
		return sanSet{}, errors.New("there are no domains")
	}
	return set.sorted(), nil
}

// sansOf is the inverse: what a certificate is for.
func sansOf(cert *x509.Certificate) sanSet {
	set := sanSet{names: slices.Clone(cert.DNSNames)}
	for _, ip := range cert.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		set.addrs = append(set.addrs, addr.Unmap())
	}
	return set.sorted()
}

func (s sanSet) sorted() sanSet {
	slices.Sort(s.names)
	slices.SortFunc(s.addrs, netip.Addr.Compare)
	return sanSet{names: slices.Compact(s.names), addrs: slices.Compact(s.addrs)}
}

func (s sanSet) equal(o sanSet) bool {
	return slices.Equal(s.names, o.names) && slices.Equal(s.addrs, o.addrs)
}

// difference describes the first domains that s has more and less than old, for a status message.
func (s sanSet) difference(old sanSet) string {
	added, removed := minus(s.texts(), old.texts()), minus(old.texts(), s.texts())
	return fmt.Sprintf("%d added%s, %d removed%s", len(added), first(added), len(removed), first(removed))
}

func (s sanSet) texts() []string {
	texts := slices.Clone(s.names)
	for _, a := range s.addrs {
		texts = append(texts, a.String())
	}
	slices.Sort(texts)
	return texts
}

// minus returns what is in a and not in b, both sorted.
func minus(a, b []string) []string {
	var out []string
	for _, s := range a {
		if _, found := slices.BinarySearchFunc(b, s, cmp.Compare[string]); !found {
			out = append(out, s)
		}
	}
	return out
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return " (" + s[0] + " ...)"
}

// checkName refuses what a verifier would not match or would match differently. The API is stricter: this is the
// last check before a signature.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("is longer than %d bytes", maxName)
	}
	labels := strings.Split(name, ".")
	if labels[0] == "*" {
		labels = labels[1:]
		if len(labels) < 2 {
			return errors.New("a wildcard needs at least two labels after it, as OpenSSL's clients match no other: list the names")
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" && last != "" {
		return errors.New("ends in a number like an address, but is none")
	}
	for _, l := range labels {
		if !isLabel(l) {
			return fmt.Errorf("label %q is not one of 1 to 63 letters, digits, hyphens and underscores (write IDNA names as a-labels)", l)
		}
	}
	return nil
}

func isLabel(l string) bool {
	ok := func(r rune) bool {
		return r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	return l != "" && len(l) <= 63 && strings.IndexFunc(l, func(r rune) bool { return !ok(r) }) < 0
}
