package v1alpha1

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddr = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestParseHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	cases := map[string]Host{
		"api.openai.com":                {Kind: HostExact, Name: "api.openai.com"},
		"API.OpenAI.com.":               {Kind: HostExact, Name: "api.openai.com"},
		"localhost":                     {Kind: HostExact, Name: "localhost"},
		"_dmarc.my_svc.example.com":     {Kind: HostExact, Name: "_dmarc.my_svc.example.com"},
		"r3---sn-4g5e6nsz.example.com":  {Kind: HostExact, Name: "r3---sn-4g5e6nsz.example.com"},
		"bücher.example":                {Kind: HostExact, Name: "xn--bcher-kva.example"},
		"BÜCHER.example":                {Kind: HostExact, Name: "xn--bcher-kva.example"},
		"XN--bcher-KVA.example":         {Kind: HostExact, Name: "xn--bcher-kva.example"},
		"faß.de":                        {Kind: HostExact, Name: "xn--fa-hia.de"},
		"例え。テスト":                        {Kind: HostExact, Name: "xn--r8jz45g.xn--zckzah"},
		"ｅｘａｍｐｌｅ.com":                   {Kind: HostExact, Name: "example.com"},
		long + ".com":                   {Kind: HostExact, Name: long + ".com"},
		"*.github.com":                  {Kind: HostSuffix, Name: "github.com"},
		"*.GitHub.com.":                 {Kind: HostSuffix, Name: "github.com"},
		"*.svc.cluster.local":           {Kind: HostSuffix, Name: "svc.cluster.local"},
		"*.internal":                    {Kind: HostSuffix, Name: "internal"},
		"*.github.io":                   {Kind: HostSuffix, Name: "github.io"},
		"*":                             {Kind: HostAny},
		"192.0.2.7":                     {Kind: HostIP, Addr: netip.MustParseAddr("192.0.2.7")},
		"::ffff:192.0.2.7":              {Kind: HostIP, Addr: netip.MustParseAddr("192.0.2.7")},
		"[::ffff:c000:207]":             {Kind: HostIP, Addr: netip.MustParseAddr("192.0.2.7")},
		"2001:DB8::0:1":                 {Kind: HostIP, Addr: netip.MustParseAddr("2001:db8::1")},
		"[2001:db8::1]":                 {Kind: HostIP, Addr: netip.MustParseAddr("2001:db8::1")},
		"169.254.169.254":               {Kind: HostIP, Addr: netip.MustParseAddr("169.254.169.254")},
		"0x.example.com":                {Kind: HostExact, Name: "0x.example.com"},
		"7.example.com":                 {Kind: HostExact, Name: "7.example.com"},
		strings.Repeat("a.", 126) + "a": {Kind: HostExact, Name: strings.Repeat("a.", 126) + "a"},
	}
	for in, want := range cases {
		got, err := ParseHost(in)
		if err != nil {
			t.Errorf("ParseHost(%q): %v", in, err)
		} else if diff := cmp.Diff(want, got, compareAddr); diff != "" {
			t.Errorf("ParseHost(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	cases := map[string]string{
		"":                               "empty",
		".":                              "only a dot",
		"..":                             "empty label",
		"a..b":                           "empty label",
		".a":                             "empty label",
		"a.com..":                        "empty label",
		"*.":                             "empty",
		"*.com":                          "public suffix",
		"*.COM.":                         "public suffix",
		"*.co.uk":                        "public suffix",
		"*.xn--p1ai":                     "public suffix",
		"*.рф":                           "public suffix",
		"*.*.com":                        "wildcard",
		"a*.example.com":                 "wildcard",
		"**":                             "wildcard",
		"api.*.com":                      "wildcard",
		"a\x00.com":                      "control character U+0000",
		"a\n.com":                        "control character U+000A",
		"a\x7f.com":                      "control character U+007F",
		"a b.com":                        "character ' '",
		"a\u202eb.com":                   "IDNA",
		"a\u200db.com":                   "IDNA",
		"xn--a.com":                      "IDNA",
		"\xff.com":                       "IDNA",
		"℀.com":                          "path",
		"0x7f.1":                         "IPv4",
		"127.1":                          "IPv4",
		"017700000001":                   "IPv4",
		"2130706433":                     "IPv4",
		"0x7f000001":                     "IPv4",
		"0x":                             "IPv4",
		"127.0.0.01":                     "IPv4",
		"256.0.0.1":                      "IPv4",
		"192.0.2.7.":                     "IPv4",
		"１２７.0.0.1":                      "IPv4",
		"*.127.1":                        "IPv4",
		"*.0.0.1":                        "IPv4",
		"[127.0.0.1]":                    "IPv6 only",
		"[[::1]]":                        "not an address",
		"[a.com]":                        "not an address",
		"[::1":                           "brackets",
		"fe80::1%eth0":                   "zone",
		"0.0.0.0":                        "not the address of one host",
		"::":                             "not the address of one host",
		"224.0.0.1":                      "not the address of one host",
		"api.openai.com:443":             "ports",
		"[::1]:443":                      "brackets",
		"https://api.openai.com":         "URL",
		"api.openai.com/v1":              "path",
		"10.0.0.0/8":                     "path",
		"user@api.openai.com":            "user information",
		"-a.com":                         "hyphen",
		"a-.com":                         "hyphen",
		strings.Repeat("a", 64) + ".com": "64 characters",
		strings.Repeat("a.", 127) + "aa": "256 characters",
		strings.Repeat("a", 100_000):     "longer",
	}
	for in, want := range cases {
		got, err := ParseHost(in)
		if err == nil {
			t.Errorf("ParseHost(%q) = %v, want an error with %q", in, got, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseHost(%q): %v, want %q in it", in, err, want)
		}
	}
}

func TestHostMatches(t *testing.T) {
	cases := []struct {
		host, name string
		want       bool
	}{
		{"a.example.com", "a.example.com", true},
		{"a.example.com", "b.a.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "notexample.com", false},
		{"*.example.com", "example.com.evil.test", false},
		{"*", "anything.test", true},
		{"*", "", false},
		{"*", "192.0.2.7", false},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"[2001:DB8::1]", "2001:db8::1", true},
	}
	for _, c := range cases {
		if got := mustHost(t, c.host).Matches(c.name); got != c.want {
			t.Errorf("%s matches %q = %v, want %v", c.host, c.name, got, c.want)
		}
	}
}

func TestHostCovers(t *testing.T) {
	cases := []struct {
		host, other string
		want        bool
	}{
		{"*", "*", true},
		{"*", "*.example.com", true},
		{"*", "a.test", true},
		{"*", "192.0.2.7", false},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "*.a.example.com", true},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.a.example.com", "*.example.com", false},
		{"*.example.com", "*", false},
		{"a.example.com", "A.example.com.", true},
		{"a.example.com", "*.a.example.com", false},
		{"192.0.2.7", "::ffff:192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
	}
	for _, c := range cases {
		host, other := mustHost(t, c.host), mustHost(t, c.other)
		if got := host.Covers(other); got != c.want {
			t.Errorf("%s covers %s = %v, want %v", host, other, got, c.want)
		}
		set := newHostSet()
		set.add(host)
		if got := set.covers(other); got != c.want {
			t.Errorf("set of %s covers %s = %v, want %v", host, other, got, c.want)
		}
	}
}

func mustHost(t *testing.T, s string) Host {
	t.Helper()
	host, err := ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return host
}
