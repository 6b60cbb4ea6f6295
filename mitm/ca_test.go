package mitm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGenerateIsRepeatable(t *testing.T) {
	a, b, other := newCA(t, 1), newCA(t, 1), newCA(t, 2)
	if !a.cert.Equal(b.cert) || !bytes.Equal(reveal(t, a.Key()), reveal(t, b.Key())) {
		t.Error("two runs with the same randomness differ")
	}
	if a.cert.Equal(other.cert) || samePublicKey(a.cert.PublicKey, other.cert.PublicKey) {
		t.Error("other randomness gives the same CA")
	}
	if bytes.Equal(a.cert.RawSubject, other.cert.RawSubject) {
		t.Error("two CAs of one policy have the same subject")
	}
}

func TestGenerateShape(t *testing.T) {
	type shape struct {
		Subject             string
		NotBefore, NotAfter time.Time
		IsCA, PathLenZero   bool
		KeyUsage            x509.KeyUsage
		KeyIDs              int
		SerialBits          bool
	}
	c := newCA(t, 1).cert
	got := shape{c.Subject.CommonName, c.NotBefore, c.NotAfter, c.IsCA, c.MaxPathLenZero, c.KeyUsage, len(c.SubjectKeyId), c.SerialNumber.BitLen() > 64}
	want := shape{"netproxy CA demo/agent", now.Add(-Backdate), now.Add(CALifetime), true, true, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, 20, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		t.Error(err)
	}
}

func TestCommonName(t *testing.T) {
	long := strings.Repeat("n", 63) + "/" + strings.Repeat("p", 253)
	for _, name := range []string{"a", long, long + "x", strings.Repeat("ü", 100)} {
		ca, err := Generate(random(1), now, name)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(ca.cert.Subject.CommonName); n > maxCommonName {
			t.Errorf("common name of %d bytes: %q", n, ca.cert.Subject.CommonName)
		}
	}
	if commonName("p ", long) == commonName("p ", long+"x") {
		t.Error("two long names have the same common name")
	}
}

func TestGenerateFails(t *testing.T) {
	cases := map[string]struct {
		rand io.Reader
		name string
		want string
	}{
		"no name":          {random(1), "", "is no name"},
		"not UTF-8":        {random(1), "\xff", "is no name"},
		"reader fails":     {iotest.ErrReader(errors.New("broken")), "x", "read randomness: broken"},
		"reader ends":      {bytes.NewReader(bytes.Repeat([]byte{7}, 40)), "x", "draw serial number"},
		"only zeros":       {bytes.NewReader(make([]byte, 4096)), "x", "no usable numbers"},
		"above the order":  {bytes.NewReader(bytes.Repeat([]byte{0xff}, 4096)), "x", "no usable numbers"},
		"nothing to read":  {bytes.NewReader(nil), "x", "read randomness"},
		"half of a scalar": {bytes.NewReader(make([]byte, 16)), "x", "read randomness"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Generate(c.rand, now, c.name)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	root := userCA(t, "root", rsaKey(t, 2048), nil, nil)
	mid := userCA(t, "mid", ecKey(t), root, func(c *x509.Certificate) { c.MaxPathLen = 1 })
	low := userCA(t, "low", rsaKey(t, 2048), mid, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	own := newCA(t, 1)
	cases := map[string]struct {
		cert []byte
		key  PrivateKey
		want []string
	}{
		"generated":      {own.CertificatePEM(), own.Key(), []string{own.cert.Subject.CommonName}},
		"RSA root":       {pemOf(root), root.key, []string{"root"}},
		"chain":          {pemOf(mid, root), mid.key, []string{"mid", "root"}},
		"any order":      {pemOf(root, low, mid), low.key, []string{"low", "mid", "root"}},
		"duplicates":     {pemOf(mid, root, root, mid), mid.key, []string{"mid", "root"}},
		"text around it": {[]byte("# my CA\n" + string(pemOf(root)) + "the end\n"), root.key, []string{"root"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ca, err := Parse(c.cert, reveal(t, c.key), now)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, cert := range ca.Chain() {
				got = append(got, cert.Subject.CommonName)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("chain (-want +got):\n%s", diff)
			}
			newLeaf(t, ca, "api.example.com") // verified from the root as a client does
		})
	}
}

func TestParseRefuses(t *testing.T) {
	edit := func(f func(*x509.Certificate)) *user { return userCA(t, "ca", ecKey(t), nil, f) }
	good, other := edit(nil), edit(nil)
	used := userCA(t, "used", ecKey(t), nil, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	below := userCA(t, "below", ecKey(t), used, nil)
	leaf := edit(func(c *x509.Certificate) { c.IsCA = false })
	usage := edit(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	client := edit(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	expired := edit(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })
	future := edit(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) })
	p224 := userCA(t, "p224", p224Key(t), nil, nil)
	cases := map[string]struct {
		cert, key []byte
		want      string
	}{
		"no pair":         {pemOf(good), reveal(t, other.key), "do not belong together"},
		"not a CA":        {pemOf(leaf), reveal(t, leaf.key), "is not a CA"},
		"key usage":       {pemOf(usage), reveal(t, usage.key), "keyCertSign"},
		"client CA":       {pemOf(client), reveal(t, client.key), "serverAuth"},
		"expired":         {pemOf(expired), reveal(t, expired.key), "expired on 2026-11-23T11:59:59Z"},
		"not yet valid":   {pemOf(future), reveal(t, future.key), "is not valid before 2026-11-23T12:00:01Z"},
		"path length":     {pemOf(below, used), reveal(t, below.key), "path length 0"},
		"no root":         {pemOf(below), reveal(t, below.key), "add it"},
		"stranger":        {pemOf(good, other), reveal(t, good.key), "is not in the chain"},
		"weak curve":      {pemOf(p224), reveal(t, p224.key), "P-224"},
		"no certificate":  {nil, reveal(t, good.key), "no certificate found"},
		"no key":          {pemOf(good), nil, "found 0 private keys"},
		"two keys":        {pemOf(good), append(reveal(t, good.key), reveal(t, good.key)...), "found 2 private keys"},
		"swapped":         {reveal(t, good.key), pemOf(good), "private key"},
		"cut off":         {pemOf(good)[:200], reveal(t, good.key), "damaged"},
		"encrypted":       {pemOf(good), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "unencrypted"},
		"garbage key":     {pemOf(good), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "parse"},
		"short RSA":       {pemOf(good), reveal(t, rsaKey(t, 1024)), "too short"},
		"not PEM":         {[]byte("hello"), reveal(t, good.key), "no certificate found"},
		"damaged base64":  {bytes.Replace(pemOf(good, other), []byte("MII"), []byte("M!!"), 1), reveal(t, other.key), "damaged"},
		"byte order mark": {append([]byte("\ufeff"), pemOf(good, other)...), reveal(t, other.key), "damaged"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ca, err := Parse(c.cert, c.key, now)
			if err == nil {
				t.Fatalf("accepted as %v, want error %q", ca, c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func p224Key(t testing.TB) PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wrapKey(key)
}
