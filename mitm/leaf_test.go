package mitm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIssueIsRepeatable(t *testing.T) {
	ca := newCA(t, 1)
	a, b := newLeaf(t, ca, "b.example.com", "a.example.com"), newLeaf(t, ca, "a.example.com", "b.example.com")
	if !bytes.Equal(a.CertificatePEM(), b.CertificatePEM()) || !bytes.Equal(reveal(t, a.Key()), reveal(t, b.Key())) {
		t.Error("two runs with the same randomness differ")
	}
	c, err := Issue(ca, []string{"a.example.com", "b.example.com"}, random(101), now)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert.SerialNumber.Cmp(c.cert.SerialNumber) == 0 || samePublicKey(a.cert.PublicKey, c.cert.PublicKey) {
		t.Error("other randomness gives the same leaf")
	}
}

func TestIssueSANs(t *testing.T) {
	cases := map[string]struct {
		domains, names, addrs []string
	}{
		"sorted":     {[]string{"b.example", "a.example", "*.a.example"}, []string{"*.a.example", "a.example", "b.example"}, nil},
		"duplicates": {[]string{"a.example", "A.Example", "a.example"}, []string{"a.example"}, nil},
		"addresses":  {[]string{"2001:db8::1", "192.0.2.7", "2001:DB8:0::1"}, nil, []string{"192.0.2.7", "2001:db8::1"}},
		"mapped":     {[]string{"::ffff:192.0.2.7", "192.0.2.7"}, nil, []string{"192.0.2.7"}},
		"mixed":      {[]string{"xn--bcher-kva.example", "192.0.2.7"}, []string{"xn--bcher-kva.example"}, []string{"192.0.2.7"}},
		"one label":  {[]string{"internal", "_x.internal"}, []string{"_x.internal", "internal"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cert := newLeaf(t, newCA(t, 1), c.domains...).cert
			var addrs []string
			for _, ip := range cert.IPAddresses {
				addrs = append(addrs, ip.String())
			}
			if diff := cmp.Diff([][]string{c.names, c.addrs}, [][]string{cert.DNSNames, addrs}); diff != "" {
				t.Errorf("SANs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := newCA(t, 1)
	limited := userCA(t, "limited", ecKey(t), nil, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.com"}
	})
	constrained, err := Parse(pemOf(limited), reveal(t, limited.key), now)
	if err != nil {
		t.Fatal(err)
	}
	newLeaf(t, constrained, "api.example.com")
	cases := map[string]struct {
		ca     *CA
		domain string
		want   string
	}{
		"empty":           {ca, "", "label"},
		"empty label":     {ca, "a..b", "label"},
		"trailing dot":    {ca, "a.example.", "label"},
		"wide wildcard":   {ca, "*.com", "two labels"},
		"only a star":     {ca, "*", "two labels"},
		"inner star":      {ca, "a.*.example", "label"},
		"NUL":             {ca, "a\x00.example", "label"},
		"not ASCII":       {ca, "bücher.example", "a-label"},
		"port":            {ca, "a.example:443", "label"},
		"brackets":        {ca, "[2001:db8::1]", "label"},
		"zone":            {ca, "fe80::1%eth0", "zone"},
		"network":         {ca, "192.0.2.0/24", "label"},
		"octal address":   {ca, "192.0.2.007", "like an address"},
		"long label":      {ca, strings.Repeat("a", 64) + ".example", "label"},
		"long name":       {ca, strings.Repeat("a.", 127), "longer than 253"},
		"name constraint": {constrained, "api.example.org", "not permitted"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Issue(c.ca, []string{"good.example.com", c.domain}, random(1), now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := Issue(ca, nil, random(1), now); err == nil {
		t.Error("issued a leaf for nothing")
	}
}

func TestLeafLife(t *testing.T) {
	short := userCA(t, "short", ecKey(t), nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(10*24*time.Hour)
	})
	shortCA, err := Parse(pemOf(short), reveal(t, short.key), now)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		ca         *CA
		start, end time.Time
	}{
		"whole":           {newCA(t, 1), now.Add(-Backdate), now.Add(LeafLifetime)},
		"within the CA's": {shortCA, now.Add(-time.Hour), now.Add(10 * 24 * time.Hour)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			leaf := newLeaf(t, c.ca, "a.example")
			got := []time.Time{leaf.cert.NotBefore, leaf.cert.NotAfter}
			if diff := cmp.Diff([]time.Time{c.start, c.end}, got); diff != "" {
				t.Errorf("life (-want +got):\n%s", diff)
			}
			if err := leaf.verify(c.ca, c.start); err != nil {
				t.Errorf("a client whose clock is late: %v", err)
			}
			if err := leaf.verify(c.ca, c.start.Add(-time.Second)); err == nil {
				t.Error("valid before its beginning")
			}
		})
	}
}

func TestFiveThousandDomains(t *testing.T) {
	domains := manyDomains(5000)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(domains), func(i, j int) { domains[i], domains[j] = domains[j], domains[i] })
	ca := newCA(t, 1)
	leaf := newLeaf(t, ca, domains...)
	if n := len(leaf.cert.DNSNames); n != 5000 || !slices.IsSorted(leaf.cert.DNSNames) {
		t.Errorf("%d names, sorted %v", n, slices.IsSorted(leaf.cert.DNSNames))
	}
	if err := handshake(t, ca, leaf, "host-4999.example.com"); err != nil {
		t.Error(err)
	}
}

func manyDomains(n int) []string {
	domains := make([]string, 0, n)
	for i := range n {
		domains = append(domains, fmt.Sprintf("host-%d.example.com", i))
	}
	return domains
}

func TestTooLargeFor(t *testing.T) {
	ca := newCA(t, 1)
	for n, want := range map[int][]string{1000: nil, 1500: {"Java"}, 5000: {"Java", "OpenSSL"}, 12000: {"Java", "OpenSSL", "Go"}} {
		leaf := newLeaf(t, ca, manyDomains(n)...)
		var got []string
		for _, limit := range leaf.TooLargeFor() {
			got = append(got, limit.Client)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d domains (-want +got):\n%s", n, diff)
		}
		if slices.Contains(want, "Go") {
			continue // both ends would write into the pipe until the deadline
		}
		if err := handshake(t, ca, leaf, "host-0.example.com"); err != nil {
			t.Errorf("%d domains: %v", n, err)
		}
	}
}

func TestHandshake(t *testing.T) {
	domains := []string{"api.example.com", "*.example.org", "192.0.2.7", "2001:db8::7"}
	cases := map[string]bool{
		"api.example.com":     true,
		"API.Example.com":     true,
		"a.example.org":       true,
		"192.0.2.7":           true,
		"2001:db8::7":         true,
		"2001:db8:0:0::7":     true,
		"other.example.com":   false,
		"a.b.example.org":     false,
		"example.org":         false,
		"192.0.2.8":           false,
		"2001:db8::8":         false,
		"api.example.com.net": false,
	}
	root := userCA(t, "root", rsaKey(t, 2048), nil, nil)
	mid := userCA(t, "mid", rsaKey(t, 2048), root, nil)
	below, err := Parse(pemOf(mid, root), reveal(t, mid.key), now)
	if err != nil {
		t.Fatal(err)
	}
	for kind, ca := range map[string]*CA{"generated": newCA(t, 1), "user's": below} {
		leaf := newLeaf(t, ca, domains...)
		for name, want := range cases {
			t.Run(kind+"/"+name, func(t *testing.T) {
				if err := handshake(t, ca, leaf, name); (err == nil) != want {
					t.Errorf("handshake: %v", err)
				}
			})
		}
		t.Run(kind+"/other CA", func(t *testing.T) {
			if err := handshake(t, newCA(t, 2), leaf, "api.example.com"); err == nil {
				t.Error("a client that does not trust the CA accepts the leaf")
			}
		})
	}
}

// handshake connects a client that trusts only the root of ca to a server that shows leaf.
func handshake(t *testing.T, ca *CA, leaf *Leaf, name string) error {
	t.Helper()
	pair, err := tls.X509KeyPair(leaf.CertificatePEM(), reveal(t, leaf.Key()))
	if err != nil {
		t.Fatal(err)
	}
	clientEnd, serverEnd := net.Pipe()
	defer clientEnd.Close()
	deadline := time.Now().Add(20 * time.Second)
	done := make(chan error, 1)
	go func() {
		defer serverEnd.Close()
		_ = serverEnd.SetDeadline(deadline)
		done <- tls.Server(serverEnd, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
	}()
	_ = clientEnd.SetDeadline(deadline)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Root())
	client := tls.Client(clientEnd, &tls.Config{RootCAs: roots, ServerName: name, Time: func() time.Time { return now }})
	if err := client.Handshake(); err != nil {
		return err
	}
	return <-done
}

func TestParseLeafRefuses(t *testing.T) {
	ca := newCA(t, 1)
	leaf := newLeaf(t, ca, "a.example")
	cases := map[string]struct {
		cert, key []byte
		want      string
	}{
		"no pair": {leaf.CertificatePEM(), reveal(t, ca.Key()), "do not belong together"},
		"no cert": {nil, reveal(t, leaf.Key()), "no certificate found"},
		"no key":  {leaf.CertificatePEM(), nil, "found 0 private keys"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseLeaf(c.cert, c.key)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}
