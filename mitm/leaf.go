package mitm

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

const (
	// LeafLifetime is how long a leaf is valid from its issue on.
	LeafLifetime = 90 * 24 * time.Hour

	// leafName is the same for all leaves: clients match the SANs, and a host name here would be limited to 64
	// bytes and, for OpenSSL, subject to name constraints.
	leafName = "netproxy intercepted domains"
)

// Leaf is the certificate that Envoy shows to the workload instead of the real server's.
type Leaf struct {
	cert  *x509.Certificate
	chain []*x509.Certificate // intermediates, without the root
	key   PrivateKey
}

// Certificate is the leaf itself.
func (l *Leaf) Certificate() *x509.Certificate { return l.cert }

// CertificatePEM is what the server sends: the leaf, then the intermediates of its CA.
func (l *Leaf) CertificatePEM() []byte {
	return encodeCertificates(append([]*x509.Certificate{l.cert}, l.chain...))
}

// Key is the private key of the leaf.
func (l *Leaf) Key() PrivateKey { return l.key }

// Format implements fmt.Formatter: serial number and end, nothing of the key.
func (l *Leaf) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Leaf(%x until %s)", l.cert.SerialNumber, l.cert.NotAfter.Format(time.RFC3339))
}

// RenewAt is when two thirds of the leaf's life are over.
func (l *Leaf) RenewAt() time.Time {
	return l.cert.NotBefore.Add(l.cert.NotAfter.Sub(l.cert.NotBefore) / 3 * 2)
}

// Issue signs an ECDSA P-256 leaf for domains: names, wildcards of one label, IPv4 and IPv6 addresses. It is valid
// from Backdate before now until LeafLifetime after it, within the life of the CA. The SANs are sorted and without
// duplicates. Issue verifies the leaf against the CA as a client does and returns an error if, for example, a name
// constraint of the CA forbids a domain. The result depends on the arguments only.
func Issue(ca *CA, domains []string, rand io.Reader, now time.Time) (*Leaf, error) {
	sans, err := parseSANs(domains)
	if err != nil {
		return nil, fmt.Errorf("issue leaf: %w", err)
	}
	key, err := generateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("issue leaf: %w", err)
	}
	serial, err := newSerial(rand)
	if err != nil {
		return nil, fmt.Errorf("issue leaf: %w", err)
	}
	cert, err := sign(leafTemplate(ca, sans, serial, now), ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issue leaf: %w", err)
	}
	leaf := &Leaf{cert: cert, chain: ca.intermediates(), key: key}
	if err := leaf.verify(ca, now); err != nil {
		return nil, fmt.Errorf("issue leaf: %w", err)
	}
	return leaf, nil
}

func leafTemplate(ca *CA, sans sanSet, serial *big.Int, now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: leafName},
		NotBefore:             later(now.Add(-Backdate).UTC().Truncate(time.Second), ca.cert.NotBefore),
		NotAfter:              leafEnd(ca, now),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              sans.names,
	}
	for _, a := range sans.addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	return template
}

// leafEnd is when a leaf issued now would end.
func leafEnd(ca *CA, now time.Time) time.Time {
	end := now.Add(LeafLifetime).UTC().Truncate(time.Second)
	if limit := ca.NotAfter(); limit.Before(end) {
		return limit
	}
	return end
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// verify is the check of a client that trusts the CA's root.
func (l *Leaf) verify(ca *CA, now time.Time) error {
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	options.Roots.AddCert(ca.Root())
	for _, c := range ca.intermediates() {
		options.Intermediates.AddCert(c)
	}
	if _, err := l.cert.Verify(options); err != nil {
		return fmt.Errorf("verify against CA %q: %w", ca.cert.Subject, err)
	}
	return nil
}

// ParseLeaf reads a leaf and its key and wants them to be a pair. Envoy keeps the old leaf when it is given
// another pair, but from then on refuses every listener update.
func ParseLeaf(certPEM, keyPEM []byte) (*Leaf, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read leaf certificate: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read leaf private key: %w", err)
	}
	if !key.belongsTo(certs[0]) {
		return nil, fmt.Errorf("read leaf: %w", ErrMismatch)
	}
	return &Leaf{cert: certs[0], chain: certs[1:], key: key}, nil
}

// ErrMismatch is wrapped by the errors about a certificate and a private key that are no pair.
var ErrMismatch = errors.New("certificate and private key do not belong together")

// Issued is when the leaf was signed; later than that if its CA is younger than Backdate.
func (l *Leaf) Issued() time.Time { return l.cert.NotBefore.Add(Backdate) }
