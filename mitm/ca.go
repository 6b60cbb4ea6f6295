package mitm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
	"unicode/utf8"
)

const (
	// CALifetime is how long a generated CA is valid.
	CALifetime = 10 * 365 * 24 * time.Hour

	// Backdate lies between the issue of a certificate and its NotBefore. A clock that takes local time for UTC is
	// up to 14 hours off, and a sandbox restored from a snapshot often shows the hour of the snapshot.
	Backdate = 24 * time.Hour

	organization = "netproxy"

	// maxCommonName is ub-common-name of RFC 5280 appendix A.1; OpenSSL refuses longer ones.
	maxCommonName = 64

	// serialBytes is within the 20 octets of RFC 5280 section 4.1.2.2 and above the 64 bits of the CA/Browser Forum.
	serialBytes = 16
)

// CA can sign leaves: a certificate, its key, and the way up to the root that clients trust.
type CA struct {
	cert   *x509.Certificate
	issuer []*x509.Certificate // from the certificate's own issuer up to the root, empty for a root
	key    PrivateKey
}

// Certificate is the certificate that signs leaves.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Root is what clients have to trust: the certificate itself, or the end of its chain.
func (ca *CA) Root() *x509.Certificate { return ca.Chain()[len(ca.issuer)] }

// Chain is the signing certificate and its issuers up to the root, at least one certificate.
func (ca *CA) Chain() []*x509.Certificate { return append([]*x509.Certificate{ca.cert}, ca.issuer...) }

// CertificatePEM is the chain as tls.crt of a kubernetes.io/tls Secret holds it: the signing certificate first.
func (ca *CA) CertificatePEM() []byte { return encodeCertificates(ca.Chain()) }

// Key is the private key of Certificate.
func (ca *CA) Key() PrivateKey { return ca.key }

// NotAfter is when the first certificate of the chain ends, and with it every leaf.
func (ca *CA) NotAfter() time.Time {
	end := ca.cert.NotAfter
	for _, c := range ca.issuer {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// Format implements fmt.Formatter: the name of the certificate, nothing of the key.
func (ca *CA) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "CA(%s)", ca.cert.Subject) }

// intermediates is what a server sends after the leaf: the chain without the root, which the client has.
func (ca *CA) intermediates() []*x509.Certificate { return ca.Chain()[:len(ca.issuer)] }

// Generate makes a self-signed ECDSA P-256 CA that signs leaves and nothing else (path length 0). name tells a reader
// of the certificate which policy it belongs to, for example "demo/agent"; a name that does not fit into 64 bytes
// is cut and completed with its hash. The result depends on the arguments only.
func Generate(rand io.Reader, now time.Time, name string) (*CA, error) {
	if name == "" || !utf8.ValidString(name) {
		return nil, fmt.Errorf("generate CA: %q is no name", name)
	}
	key, err := generateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("generate CA %s: %w", name, err)
	}
	serial, err := newSerial(rand)
	if err != nil {
		return nil, fmt.Errorf("generate CA %s: %w", name, err)
	}
	keyID, err := subjectKeyID(key)
	if err != nil {
		return nil, fmt.Errorf("generate CA %s: %w", name, err)
	}
	template := caTemplate(now, name, serial, keyID)
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("generate CA %s: %w", name, err)
	}
	return &CA{cert: cert, key: key}, nil
}

func caTemplate(now time.Time, name string, serial *big.Int, keyID []byte) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Organization: []string{organization},
			CommonName:   commonName(organization+" CA ", name),
			// During a rotation two CAs of one policy are trusted at once, and some verifiers look a CA up by its
			// subject alone: the key makes the subject unique.
			SerialNumber: hex.EncodeToString(keyID[:8]),
		},
		NotBefore:             now.Add(-Backdate).UTC().Truncate(time.Second),
		NotAfter:              now.Add(CALifetime).UTC().Truncate(time.Second),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId:          keyID,
	}
}

// commonName fits prefix and name into a common name without making two long names alike.
func commonName(prefix, name string) string {
	if len(prefix)+len(name) <= maxCommonName {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "~" + hex.EncodeToString(sum[:6])
	cut := maxCommonName - len(prefix) - len(suffix)
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return prefix + name[:cut] + suffix
}

// sign creates a certificate and parses it, so that what is returned is what clients will see.
func sign(template, parent *x509.Certificate, subject, signer PrivateKey) (*x509.Certificate, error) {
	// CreateCertificate needs no randomness: the serial number is given, and the signature is repeatable.
	der, err := x509.CreateCertificate(bytes.NewReader(nil), template, parent, subject.public(), repeatable{signer})
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the created certificate: %w", err)
	}
	return cert, nil
}

func newSerial(rand io.Reader) (*big.Int, error) {
	b := make([]byte, serialBytes)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, never zero, and always of the same length
	return new(big.Int).SetBytes(b), nil
}

// subjectKeyID follows RFC 7093 section 2, method 1: the leftmost 160 bits of the SHA-256 of the public key.
func subjectKeyID(key PrivateKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	point := spki[len(spki)-65:]
	if point[0] != 4 {
		return nil, errors.New("encode public key: not an uncompressed P-256 point")
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}
