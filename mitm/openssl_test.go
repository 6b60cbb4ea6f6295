package mitm

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestOpenSSLVerifies asks a second implementation about the same chains.
func TestOpenSSLVerifies(t *testing.T) {
	openssl := tool(t, "openssl")
	generated := newCA(t, 1)
	root := userCA(t, "root", rsaKey(t, 2048), nil, nil)
	mid := userCA(t, "mid", ecKey(t), root, nil)
	below, err := Parse(pemOf(mid, root), reveal(t, mid.key), now)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		trusted, signer *CA
		check           []string
		want            bool
	}{
		"name":          {generated, generated, []string{"-verify_hostname", "api.example.com"}, true},
		"wildcard":      {generated, generated, []string{"-verify_hostname", "a.example.org"}, true},
		"IPv4":          {generated, generated, []string{"-verify_ip", "192.0.2.7"}, true},
		"IPv6":          {generated, generated, []string{"-verify_ip", "2001:db8::7"}, true},
		"intermediate":  {below, below, []string{"-verify_hostname", "api.example.com"}, true},
		"two labels":    {generated, generated, []string{"-verify_hostname", "a.b.example.org"}, false},
		"other name":    {generated, generated, []string{"-verify_hostname", "example.net"}, false},
		"other address": {generated, generated, []string{"-verify_ip", "192.0.2.8"}, false},
		"other CA":      {newCA(t, 2), generated, []string{"-verify_hostname", "api.example.com"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			leaf := newLeaf(t, c.signer, "api.example.com", "*.example.org", "192.0.2.7", "2001:db8::7")
			chain := write(t, "leaf.pem", leaf.CertificatePEM())
			args := append([]string{"verify", "-x509_strict", "-purpose", "sslserver", "-attime", unix(now),
				"-CAfile", write(t, "root.pem", encodeCertificates(c.trusted.Chain()[len(c.trusted.issuer):])), "-untrusted", chain}, c.check...)
			out, err := exec.Command(openssl, append(args, chain)...).CombinedOutput()
			if (err == nil) != c.want {
				t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		})
	}
}

// TestOpenSSLPicksTheRightCA: during a rotation both CAs of a policy are trusted.
func TestOpenSSLPicksTheRightCA(t *testing.T) {
	openssl := tool(t, "openssl")
	rotation := Rotation{Current: newCA(t, 1), Next: newCA(t, 2)}
	bundle := write(t, "bundle.pem", WorkloadBundle(Roots(now), rotation.Trusted(), nil).PEM())
	for name, ca := range map[string]*CA{"current": rotation.Current, "next": rotation.Next} {
		leaf := write(t, "leaf.pem", newLeaf(t, ca, "a.example").CertificatePEM())
		out, err := exec.Command(openssl, "verify", "-attime", unix(now), "-CAfile", bundle, leaf).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
