package v1alpha1

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDomain(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")
	cases := map[string]Domain{
		"API.openai.com.":       {Name: "api.openai.com"},
		"*.GitHub.com":          {Name: "github.com", Wildcard: true},
		"*.bücher.example":      {Name: "xn--bcher-kva.example", Wildcard: true},
		"192.0.2.7":             {Addr: v4},
		"192.0.2.7/32":          {Addr: v4},
		"::ffff:192.0.2.7":      {Addr: v4},
		"::ffff:192.0.2.7/128":  {Addr: v4},
		"2001:DB8:0::1":         {Addr: v6},
		"[2001:db8::1]":         {Addr: v6},
		"2001:db8:0:0::1/128":   {Addr: v6},
		"*.svc.cluster.local":   {Name: "svc.cluster.local", Wildcard: true},
		"xn--bcher-kva.example": {Name: "xn--bcher-kva.example"},
	}
	for in, want := range cases {
		got, err := ParseDomain(in)
		if err != nil {
			t.Errorf("ParseDomain(%q): %v", in, err)
		} else if diff := cmp.Diff(want, got, compareAddr); diff != "" {
			t.Errorf("ParseDomain(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestParseDomainRefuses(t *testing.T) {
	cases := map[string]string{
		"*":                      "every name",
		"*.com":                  "public suffix",
		"192.0.2.0/24":           "a network",
		"192.0.2.7/33":           "prefix length",
		"2001:db8::/127":         "a network",
		"2001:db8::1/32":         "a network",
		"::ffff:192.0.2.7/32":    "wider than IPv4",
		"0.0.0.0":                "not the address of one host",
		"::/128":                 "not the address of one host",
		"a.test/32":              "not an address",
		"https://a.test":         "URL",
		"a..b":                   "empty label",
		"":                       "empty",
		"a.test:443":             "ports",
		"*.192.0.2.7":            "an address",
		"\x00":                   "control character",
		strings.Repeat("x", 300): "300 characters",
	}
	for in, want := range cases {
		got, err := ParseDomain(in)
		if err == nil {
			t.Errorf("ParseDomain(%q) = %v, want an error with %q", in, got, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDomain(%q): %v, want %q in it", in, err, want)
		}
	}
}

func TestDomainMatches(t *testing.T) {
	cases := []struct {
		domain, name string
		want         bool
	}{
		{"a.test", "a.test", true},
		{"a.test", "b.a.test", false},
		{"*.a.test", "b.a.test", true},
		{"*.a.test", "c.b.a.test", false},
		{"*.a.test", "a.test", false},
		{"*.a.test", ".a.test", false},
		{"192.0.2.7/32", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"2001:DB8::1", "2001:db8::1", true},
	}
	for _, c := range cases {
		if got := mustDomain(t, c.domain).Matches(c.name); got != c.want {
			t.Errorf("%s matches %q = %v, want %v", c.domain, c.name, got, c.want)
		}
	}
}

// TestSets holds the sets to what their members say one by one.
func TestSets(t *testing.T) {
	hosts := []string{"a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.b.a.test", "*.test", "*", "192.0.2.7", "2001:db8::1", "other.example"}
	domains := []string{"a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.b.a.test", "*.test", "192.0.2.7", "2001:db8::1", "other.example"}
	for _, h := range hosts {
		host := mustHost(t, h)
		for _, d := range domains {
			domain := mustDomain(t, d)
			one, many := newHostSet(), newDomainSet()
			one.add(host)
			many.add(domain)
			if got, want := one.covers(domain.Host()), host.CoversDomain(domain); got != want {
				t.Errorf("set of %s covers %s = %v, want %v", h, d, got, want)
			}
			if got, want := one.meets(domain), meet(host, domain); got != want {
				t.Errorf("set of %s meets %s = %v, want %v", h, d, got, want)
			}
			if got, want := many.meets(host), meet(host, domain); got != want {
				t.Errorf("set of domain %s meets %s = %v, want %v", d, h, got, want)
			}
			if got, want := many.covers(host), host.Kind != HostSuffix && host.Kind != HostAny && domain.Matches(host.String()); got != want {
				t.Errorf("set of domain %s covers %s = %v, want %v", d, h, got, want)
			}
		}
	}
}

// meet tries the names and addresses that the tests are about.
func meet(host Host, domain Domain) bool {
	for _, name := range []string{"test", "a.test", "b.a.test", "c.b.a.test", "d.c.b.a.test", "x.test", "x.a.test", "x.b.a.test",
		"192.0.2.7", "2001:db8::1", "other.example"} {
		if host.Matches(name) && domain.Matches(name) {
			return true
		}
	}
	return false
}

func mustDomain(t *testing.T, s string) Domain {
	t.Helper()
	domain, err := ParseDomain(s)
	if err != nil {
		t.Fatal(err)
	}
	return domain
}
