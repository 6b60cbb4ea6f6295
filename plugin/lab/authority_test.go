package lab

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestParseAuthority: what one process wrote, another signs with, and clients of the first trust it.
func TestParseAuthority(t *testing.T) {
	made, text := revealed(t)
	read, err := ParseAuthority(text)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.1")
	leaf, err := read.leaf(addr, []string{"a.example"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made.CertificatePEM())
	if _, err := parsed.Verify(x509.VerifyOptions{Roots: roots, DNSName: "a.example"}); err != nil {
		t.Errorf("the leaf is not the first authority's: %v", err)
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	made, text := revealed(t)
	_, other := revealed(t)
	block, rest := pem.Decode(text)
	_, otherKey := pem.Decode(other)
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":           {nil, "a certificate and then its key"},
		"no key":            {made.CertificatePEM(), "a certificate and then its key"},
		"the key first":     {append(bytes.Clone(rest), made.CertificatePEM()...), "a certificate and then its key"},
		"somebody else's":   {append(pem.EncodeToMemory(block), otherKey...), "not the certificate's"},
		"a key of no sense": {append(pem.EncodeToMemory(block), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: []byte("x")})...), "the upstream CA's key"},
	} {
		if _, err := ParseAuthority(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tc.want)
		}
	}
}

func TestAuthorityPrintsWithoutKey(t *testing.T) {
	a, _ := revealed(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, a); !strings.Contains(got, "[redacted]") {
			t.Errorf("%s prints %q", format, got)
		}
	}
}

func revealed(t *testing.T) (*Authority, []byte) {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.RevealPEM()
	if err != nil {
		t.Fatal(err)
	}
	return a, text
}
