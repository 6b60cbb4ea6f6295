package mitm

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// FuzzParse: what a user calls a CA is refused, or signs leaves that verify.
func FuzzParse(f *testing.F) {
	ca := newCA(f, 1)
	root := userCA(f, "root", ecKey(f), nil, nil)
	mid := userCA(f, "mid", ecKey(f), root, nil)
	f.Add(ca.CertificatePEM(), reveal(f, ca.Key()))
	f.Add(pemOf(root, mid), reveal(f, mid.key))
	f.Add(pemOf(mid), reveal(f, root.key))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		ca, err := Parse(cert, key, now)
		if err != nil {
			return
		}
		back, err := Parse(ca.CertificatePEM(), reveal(t, ca.Key()), now)
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if !bytes.Equal(back.CertificatePEM(), ca.CertificatePEM()) {
			t.Error("the chain changed")
		}
		if leaf, err := Issue(ca, []string{"api.example.com"}, random(1), now); err == nil && !leaf.issuedBy(ca) {
			t.Error("the leaf is not the CA's")
		}
	})
}

// FuzzParseAdditional: a bundle holds certificates only, and all of them.
func FuzzParseAdditional(f *testing.F) {
	x, y := userCA(f, "x", ecKey(f), nil, nil), userCA(f, "y", ecKey(f), nil, nil)
	f.Add(pemOf(x, y))
	f.Add(append([]byte("# comment\r\n"), pemOf(x)...))
	f.Add(append(pemOf(x), reveal(f, x.key)...))
	f.Add([]byte("-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseAdditional(data)
		if err != nil {
			return
		}
		out := b.PEM()
		if bytes.Contains(out, []byte("PRIVATE")) || !x509.NewCertPool().AppendCertsFromPEM(out) {
			t.Errorf("no usable bundle: %q", out)
		}
		back, err := ParseAdditional(out)
		if err != nil || len(back) != len(b) {
			t.Errorf("%d anchors became %d: %v", len(b), len(back), err)
		}
	})
}

func domainSeeds(f *testing.F) {
	for _, s := range []string{
		"a.example", "*.a.example", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "a..b", "*.com", "a\x00b", "ü.example",
		"fe80::1%1", "192.0.2.7/32", "A.Example.", "_x.example", "r3---sn-x.example", "-a.example", "1.2.3", "0x7f.1", "[2001:db8::1]",
	} {
		f.Add(s)
	}
}

// FuzzIssue: a domain is refused, or the certificate is for it.
func FuzzIssue(f *testing.F) {
	ca := newCA(f, 1)
	domainSeeds(f)
	f.Fuzz(func(t *testing.T, domain string) {
		leaf, err := Issue(ca, []string{domain}, random(1), now)
		if err != nil {
			return
		}
		want, err := parseSANs([]string{domain})
		if err != nil {
			t.Fatal(err)
		}
		if got := sansOf(leaf.cert); !got.equal(want) {
			t.Errorf("%q became %v", domain, got)
		}
		checkCoverage(t, leaf.cert, domain)
	})
}

// FuzzDomainsOfThePolicy: what the API accepts in mitm.domains can be issued.
func FuzzDomainsOfThePolicy(f *testing.F) {
	ca := newCA(f, 1)
	domainSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		domain, err := v1alpha1.ParseDomain(text)
		if err != nil {
			return
		}
		if domain.Wildcard && !strings.Contains(domain.Name, ".") {
			return // *.internal: legal in a policy, but OpenSSL matches no such wildcard, see checkName
		}
		leaf, err := Issue(ca, []string{domain.SAN()}, random(1), now)
		if err != nil {
			t.Fatalf("the API accepts %q: %v", text, err)
		}
		checkCoverage(t, leaf.cert, domain.SAN())
	})
}

// checkCoverage asks the verifier of crypto/x509 what the certificate is for: the domain, and nothing below it.
func checkCoverage(t *testing.T, cert *x509.Certificate, domain string) {
	t.Helper()
	host, wildcard := strings.CutPrefix(domain, "*.")
	if wildcard {
		host = "label." + host
	}
	if err := cert.VerifyHostname(host); err != nil {
		t.Errorf("%q is not covered: %v", host, err)
	}
	if below := "x." + host; cert.VerifyHostname(below) == nil {
		t.Errorf("%q covers %q", domain, below)
	}
}
