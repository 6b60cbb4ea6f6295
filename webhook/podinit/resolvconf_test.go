package podinit

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseResolvers(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]",
		"nameserver 10.96.0.10\nsearch a.svc\noptions ndots:5\n":  "[10.96.0.10]",
		"nameserver 10.96.0.10\r\nnameserver\tfd00::a\n":          "[10.96.0.10 fd00::a]",
		"nameserver fe80::1%eth0\nnameserver ::ffff:192.0.2.1":    "[fe80::1 192.0.2.1]",
		"nameserver 10.0.0.1\nnameserver 10.0.0.1":                "[10.0.0.1]",
		"# nameserver 10.0.0.1\n;nameserver 10.0.0.2\n":           "[]",
		"nameserver\nnameserver dns.example\nnameserver 10.0.0.3": "[10.0.0.3]",
		"nameserver 10.0.0.1 # comment":                           "[10.0.0.1]",
	} {
		if got := fmt.Sprint(parseResolvers([]byte(text))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, "nameserver 10.0.0.%d\n", i)
	}
	if n := len(parseResolvers([]byte(many.String()))); n != maxResolvers {
		t.Errorf("%d resolvers of 200", n)
	}
}

// FuzzParseResolvers: whatever the file says, the rules can be made of it.
func FuzzParseResolvers(f *testing.F) {
	f.Add([]byte("nameserver 10.96.0.10\nnameserver fe80::1%eth0\n"))
	f.Add([]byte("nameserver ::ffff:1.2.3.4\nnameserver 1.2.3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found := parseResolvers(data)
		if len(found) > maxResolvers {
			t.Errorf("%d resolvers", len(found))
		}
		for _, a := range found {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
				t.Errorf("resolver %q", a)
			}
		}
	})
}
