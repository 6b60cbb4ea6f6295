package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// AuthorityName is the common name of the upstreams' certificate authority.
const AuthorityName = "netproxy lab upstream CA"

// Authority signs the certificates of the lab's upstreams. It knows nothing of
// the policies' CAs. It prints without its key.
type Authority struct {
	cert    *x509.Certificate
	certPEM []byte
	key     *ecdsa.PrivateKey
	leafKey *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// NewAuthority makes an authority that is valid for a year. A lab makes its own
// unless it is to have one that somebody trusts already.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the upstream CA's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: AuthorityName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the upstream CA: %w", err)
	}
	return newAuthority(der, key)
}

func newAuthority(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the upstream CA: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the upstreams' key: %w", err)
	}
	return &Authority{
		cert: cert, key: key, leafKey: leafKey, leaves: map[string]*tls.Certificate{},
		certPEM: pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der}),
	}, nil
}

// Types of PEM blocks.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// CertificatePEM is what a proxy has to trust.
func (a *Authority) CertificatePEM() []byte { return a.certPEM }

// RevealPEM is certificate and key, for [ParseAuthority].
func (a *Authority) RevealPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("write the upstream CA's key: %w", err)
	}
	return append(slices.Clone(a.certPEM), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der})...), nil
}

// ParseAuthority reads what [Authority.RevealPEM] wrote: a certificate, and the key that belongs to it.
func ParseAuthority(text []byte) (*Authority, error) {
	certificate, rest := pem.Decode(text)
	key, _ := pem.Decode(rest)
	if certificate == nil || key == nil || certificate.Type != blockCertificate || key.Type != blockKey {
		return nil, errors.New("read the upstream CA: a certificate and then its key are needed, as PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the upstream CA's key: %w", err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the upstream CA's key: %T is not one of ECDSA", parsed)
	}
	a, err := newAuthority(certificate.Bytes, private)
	if err == nil && !private.PublicKey.Equal(a.cert.PublicKey) {
		err = errors.New("read the upstream CA: the key is not the certificate's")
	}
	return a, err
}

// String keeps the key out of logs.
func (a *Authority) String() string { return AuthorityName + " [redacted]" }

// GoString is String.
func (a *Authority) GoString() string { return a.String() }

// leaf returns the certificate of an address: it names those who live there
// and the address itself, never what a client asked for.
func (a *Authority) leaf(addr netip.Addr, owners []string) (*tls.Certificate, error) {
	id := addr.String() + " " + strings.Join(owners, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.leaves[id]; ok {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.leaves)) + 2), Subject: pkix.Name{CommonName: "lab upstream " + addr.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: owners, IPAddresses: []net.IP{addr.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", addr, err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leafKey}
	a.leaves[id] = c
	return c, nil
}
