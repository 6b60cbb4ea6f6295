package v1alpha1

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAuthority(t *testing.T) {
	cases := map[string]struct {
		host string
		port uint16
	}{
		"api.openai.com":        {"api.openai.com", 0},
		"API.OpenAI.com.:443":   {"api.openai.com", 443},
		"a.test:65535":          {"a.test", 65535},
		"192.0.2.7:80":          {"192.0.2.7", 80},
		"[2001:DB8::1]":         {"2001:db8::1", 0},
		"[2001:db8::1]:8443":    {"2001:db8::1", 8443},
		"[::ffff:192.0.2.7]:80": {"192.0.2.7", 80},
		"bücher.example:80":     {"xn--bcher-kva.example", 80},
	}
	for in, want := range cases {
		host, port, err := ParseAuthority(in)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("ParseAuthority(%q) = %q, %d, %v, want %q, %d", in, host, port, err, want.host, want.port)
		}
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	for _, in := range []string{"", ":", ":443", "a.test:", "a.test:0", "a.test:0443", "a.test:65536", "a.test:+1", "a.test: 1", "a.test:80:80",
		"2001:db8::1", "2001:db8::1:443", "[2001:db8::1", "2001:db8::1]", "[[2001:db8::1]]", "[192.0.2.7]", "[a.test]", "[::1]x:80",
		"u@a.test", "u:p@a.test", "a.test/x", "*.a.test", "*", "127.1", "0x7f000001", "[fe80::1%25eth0]", "a..b:80", " a.test", "a\x00.test"} {
		if host, port, err := ParseAuthority(in); err == nil {
			t.Errorf("ParseAuthority(%q) = %q, %d, want an error", in, host, port)
		} else if host != "" || port != 0 || !strings.HasPrefix(err.Error(), "authority ") {
			t.Errorf("ParseAuthority(%q) = %q, %d, %v", in, host, port, err)
		}
	}
}

func TestParseCIDR(t *testing.T) {
	cases := map[string]string{
		"10.1.2.3/8":            "10.0.0.0/8",
		"0.0.0.0/0":             "0.0.0.0/0",
		"::/0":                  "::/0",
		"192.0.2.7":             "192.0.2.7/32",
		"2001:DB8::7":           "2001:db8::7/128",
		"2001:db8::7/32":        "2001:db8::/32",
		"::ffff:10.1.2.3/104":   "10.0.0.0/8",
		"::ffff:10.1.2.3":       "10.1.2.3/32",
		"::ffff:0:0/96":         "0.0.0.0/0",
		"169.254.169.254/32":    "169.254.169.254/32",
		"255.255.255.255/32":    "255.255.255.255/32",
		"64:ff9b::192.0.2.0/96": "64:ff9b::/96",
	}
	for in, want := range cases {
		got, err := ParseCIDR(in)
		if err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("ParseCIDR(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/8", "10.0.0.0/", "10.0.0.0/33", "2001:db8::/129", "10.0.0/8", "010.0.0.0/8", "0xa.0.0.0/8", "a.test",
		"::ffff:0:0/95", "fe80::1%eth0", "fe80::%eth0/64", "[::1]/128", "10.0.0.0/08", "10.0.0.0/8 "} {
		if got, err := ParseCIDR(in); err == nil {
			t.Errorf("ParseCIDR(%q) = %v, want an error", in, got)
		}
	}
}
