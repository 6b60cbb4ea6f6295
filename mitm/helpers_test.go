package mitm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// random gives the same bytes for the same seed.
func random(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func newCA(t testing.TB, seed byte) *CA {
	t.Helper()
	ca, err := Generate(random(seed), now, "demo/agent")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newLeaf(t testing.TB, ca *CA, domains ...string) *Leaf {
	t.Helper()
	leaf, err := Issue(ca, domains, random(100), now)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func reveal(t testing.TB, k PrivateKey) []byte {
	t.Helper()
	out, err := k.RevealPEM()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// user makes certificates as users bring them.
type user struct {
	cert *x509.Certificate
	key  PrivateKey
}

func ecKey(t testing.TB) PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wrapKey(key)
}

func rsaKey(t testing.TB, bits int) PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(crand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return wrapKey(key)
}

// userCA makes a CA below parent, a root without one. edit changes the template before it is signed.
func userCA(t testing.TB, name string, key PrivateKey, parent *user, edit func(*x509.Certificate)) *user {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(5 * 365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if edit != nil {
		edit(template)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	cert, err := sign(template, issuer, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &user{cert, key}
}

func pemOf(users ...*user) []byte {
	var certs []*x509.Certificate
	for _, u := range users {
		certs = append(certs, u.cert)
	}
	return encodeCertificates(certs)
}
