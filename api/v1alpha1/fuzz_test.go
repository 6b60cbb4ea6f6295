package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// FuzzParseHost: what is accepted has a harmless spelling that means the same host again.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"api.openai.com", "*.GitHub.com.", "*", "[2001:db8::1]", "::ffff:192.0.2.7", "bücher.example",
		"xn--bcher-kva.example", "0x7f.1", "a..b", "*.com", "a\x00b", "。.com", "faß.de", "xn--xn---", "192.0.2.7."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := ParseHost(s)
		if err != nil {
			return
		}
		spelled := host.String()
		again, err := ParseHost(spelled)
		if err != nil || again != host {
			t.Fatalf("%q is %v, spelled %q, which is %v (%v)", s, host, spelled, again, err)
		}
		if host.Kind == HostIP {
			if host.Addr.Is4In6() || host.Addr.Zone() != "" || !host.Matches(spelled) {
				t.Fatalf("%q is the address %v", s, host.Addr)
			}
			return
		}
		checkSpelling(t, s, spelled)
		if !host.Covers(host) {
			t.Fatalf("%v does not cover itself", host)
		}
		upper, err := ParseHost(strings.ToUpper(spelled) + dot(host))
		if err != nil || upper != host {
			t.Fatalf("%q in upper case with a dot is %v (%v)", spelled, upper, err)
		}
	})
}

func dot(host Host) string {
	if host.Kind == HostAny {
		return ""
	}
	return "."
}

func checkSpelling(t *testing.T, input, spelled string) {
	t.Helper()
	if strings.Trim(spelled, "abcdefghijklmnopqrstuvwxyz0123456789-_.*") != "" || len(spelled) > maxName+2 || spelled == "" {
		t.Fatalf("%q is spelled %q", input, spelled)
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(spelled, "*."), ".") {
		if len(label) == 0 || len(label) > maxLabel || strings.Contains(label, "*") && spelled != "*" {
			t.Fatalf("%q is spelled %q with label %q", input, spelled, label)
		}
	}
}

// FuzzParseDomain: what is accepted is as narrow as a certificate's name, and no broader than the same host.
func FuzzParseDomain(f *testing.F) {
	for _, s := range []string{"api.openai.com", "*.github.com", "192.0.2.7/32", "2001:db8::1/128", "192.0.2.0/24", "*",
		"::ffff:192.0.2.7/128", "0.0.0.0/32", "a/32", "*.192.0.2.7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, err := ParseDomain(s)
		if err != nil {
			return
		}
		again, err := ParseDomain(domain.String())
		if err != nil || again != domain {
			t.Fatalf("%q is %v, which is %v (%v)", s, domain, again, err)
		}
		if domain.Addr.IsValid() == (domain.Name != "") {
			t.Fatalf("%q is %+v: either a name or an address", s, domain)
		}
		if !domain.Addr.IsValid() {
			checkSpelling(t, s, domain.String())
		}
		if !domain.Host().CoversDomain(domain) {
			t.Fatalf("%v is broader than its host %v", domain, domain.Host())
		}
		if domain.Wildcard && (!domain.Matches("a."+domain.Name) || domain.Matches("b.a."+domain.Name) || domain.Matches(domain.Name)) {
			t.Fatalf("%v does not stand for one label", domain)
		}
	})
}

// FuzzParseCIDR: what is accepted is canonical and never IPv4 in IPv6.
func FuzzParseCIDR(f *testing.F) {
	for _, s := range []string{"10.1.2.3/8", "::/0", "::ffff:10.0.0.0/104", "::ffff:0:0/95", "192.0.2.7", "2001:db8::/129",
		"fe80::1%eth0/64", "010.0.0.0/8", "1.2.3/24"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		prefix, err := ParseCIDR(s)
		if err != nil {
			return
		}
		if prefix != prefix.Masked() || prefix.Addr().Is4In6() || prefix.Addr().Zone() != "" || !prefix.IsValid() {
			t.Fatalf("%q is %v", s, prefix)
		}
		again, err := ParseCIDR(prefix.String())
		if err != nil || again != prefix {
			t.Fatalf("%q is %v, which is %v (%v)", s, prefix, again, err)
		}
	})
}

// FuzzParseAuthority: what is accepted is a normal name or an address, and reading it again changes nothing.
func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"a.test", "A.test.:443", "[2001:db8::1]:443", "2001:db8::1", "[::1", "u@a.test", "a.test:", "a:0",
		"a:0443", "a:65536", "192.0.2.7:80", "[192.0.2.7]:80", "a:b:c", "]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, _, err := ParseAuthority(s)
		if err != nil {
			return
		}
		if isAddress(host) {
			if h, err := ParseHost(host); err != nil || h.String() != host {
				t.Fatalf("%q has the address %q (%v)", s, host, err)
			}
			return
		}
		if name, err := NormalizeName(host); err != nil || name != host {
			t.Fatalf("%q has the name %q, which is %q (%v)", s, host, name, err)
		}
		checkSpelling(t, s, host)
	})
}

// FuzzNormalizePath: what is accepted does not change by another normalisation, in any common reading.
func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/v1/", "/%61dmin", "/a/../b", "/a/%2e%2e/b", "/a%2Fb", "/a//b", "/a\\b", "/%", "/a;b=..;/c", "/%252e",
		"/%7E", "/..;/x"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, allow bool) {
		slashes := RefuseEncodedSlashes
		if allow {
			slashes = AllowEncodedSlashes
		}
		path, err := NormalizePath(s, slashes)
		if err != nil {
			return
		}
		again, err := NormalizePath(path, slashes)
		if err != nil || again != path {
			t.Fatalf("%q is %q, which is %q (%v)", s, path, again, err)
		}
		if strings.ContainsAny(path, "?#\\ \x00\r\n\"") || strings.Contains(path, "//") || path[0] != '/' {
			t.Fatalf("%q is %q", s, path)
		}
		if !allow && (strings.Contains(path, "%2F") || strings.Contains(path, "%5C")) {
			t.Fatalf("%q is %q", s, path)
		}
		checkPattern(t, path, slashes)
		for segment := range strings.SplitSeq(strings.NewReplacer("%2F", "/", "%5C", "/").Replace(path), "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q is %q with segment %q", s, path, segment)
			}
		}
	})
}

// checkPattern encodes everything that can be encoded, which means the same, and takes back what Envoy takes back.
func checkPattern(t *testing.T, path string, slashes EncodedSlashes) {
	t.Helper()
	var all, arriving strings.Builder
	for i := range len(path) {
		c := path[i]
		escape := fmt.Sprintf("%%%02x", c)
		switch {
		case c == '/' || c == '%' || i >= 1 && path[i-1] == '%' || i >= 2 && path[i-2] == '%':
			all.WriteByte(c)
			arriving.WriteByte(c)
		case unreserved(c):
			all.WriteString(escape)
			arriving.WriteByte(c)
		default:
			all.WriteString(escape)
			arriving.WriteString(escape)
		}
	}
	if again, err := NormalizePath(all.String(), slashes); err != nil || again != path {
		t.Fatalf("%q encoded is %q, which is %q (%v)", path, all.String(), again, err)
	}
	pattern, several := PathPattern(path)
	whole := regexp.MustCompile("^(?:" + pattern + ")$")
	for _, spelling := range []string{path, arriving.String(), lowerEscapes(path)} {
		if !whole.MatchString(spelling) {
			t.Fatalf("%q does not match %q", spelling, pattern)
		}
		if !several && spelling != path {
			t.Fatalf("%q has the other spelling %q", path, spelling)
		}
	}
}

func lowerEscapes(path string) string {
	return regexp.MustCompile("%[0-9A-F]{2}").ReplaceAllStringFunc(path, strings.ToLower)
}
