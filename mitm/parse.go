package mitm

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse reads a CA: netproxy's own, or a user's kubernetes.io/tls Secret. certPEM holds the signing certificate and,
// unless that is a root, its issuers up to the root, in any order (cert-manager keeps the root in ca.crt: append it).
// ECDSA and RSA keys are accepted. Parse refuses what could not sign leaves that clients accept at now: no pair, not a
// CA, wrong key usage, expired, not valid yet, a path length that is used up, an incomplete chain. Whether name
// constraints allow a domain is known when the leaf is issued, see Issue.
func Parse(certPEM, keyPEM []byte, now time.Time) (*CA, error) {
	ca, err := readCA(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if err := ca.usable(now); err != nil {
		return nil, fmt.Errorf("use CA %q: %w", ca.cert.Subject, err)
	}
	return ca, nil
}

// ErrExpired is wrapped by the errors about a CA whose time is over.
var ErrExpired = errors.New("expired")

// readCA is Parse without a clock and without judgement.
func readCA(certPEM, keyPEM []byte) (*CA, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read CA private key: %w", err)
	}
	ca, err := assemble(certs, key)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	return ca, nil
}

// assemble finds the key's certificate among certs and puts the others above it.
func assemble(certs []*x509.Certificate, key PrivateKey) (*CA, error) {
	i := slices.IndexFunc(certs, key.belongsTo)
	if i < 0 {
		return nil, fmt.Errorf("%w: the key fits none of %s", ErrMismatch, subjects(certs))
	}
	issuers, err := climb(certs[i], slices.Delete(slices.Clone(certs), i, i+1))
	if err != nil {
		return nil, err
	}
	return &CA{cert: certs[i], issuer: issuers, key: key}, nil
}

func subjects(certs []*x509.Certificate) string {
	names := make([]string, 0, len(certs))
	for _, c := range certs {
		names = append(names, strconv.Quote(c.Subject.String()))
	}
	return strings.Join(names, ", ")
}

// climb orders others from the issuer of cert to the root, and wants all of them used.
func climb(cert *x509.Certificate, others []*x509.Certificate) ([]*x509.Certificate, error) {
	var path []*x509.Certificate
	for !isRoot(cert) {
		i := issuerOf(cert, others)
		if i < 0 {
			return nil, fmt.Errorf("the chain ends at %q, whose issuer %q is missing: add it, as clients accept a root only", cert.Subject, cert.Issuer)
		}
		cert = others[i]
		path = append(path, cert)
		others = slices.Delete(others, i, i+1)
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("certificate %q is not in the chain of the private key: remove it", others[0].Subject)
	}
	return path, nil
}

// isRoot does not check the signature: nobody does for a trusted root, and that of many an old one is SHA-1.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) &&
		(len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

func issuerOf(cert *x509.Certificate, candidates []*x509.Certificate) int {
	for i, c := range candidates {
		if bytes.Equal(cert.RawIssuer, c.RawSubject) && c.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			return i
		}
	}
	return -1
}

// usable says why a leaf signed now would not be accepted, in the words of the certificate rather than of a verifier.
func (ca *CA) usable(now time.Time) error {
	for below, c := range ca.Chain() {
		if err := canSign(c, below, now); err != nil {
			return fmt.Errorf("certificate %q: %w", c.Subject, err)
		}
	}
	return nil
}

// canSign checks one certificate of a chain with below CA certificates under it.
func canSign(c *x509.Certificate, below int, now time.Time) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("is not a CA (basic constraints)")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("its key usage does not allow signing certificates (keyCertSign)")
	case now.After(c.NotAfter):
		return fmt.Errorf("%w on %s", ErrExpired, c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("is not valid before %s", c.NotBefore.Format(time.RFC3339))
	case (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen:
		return fmt.Errorf("its path length %d does not allow the %d CA certificates below it", c.MaxPathLen, below)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("has a critical extension that verifiers do not know: %v", c.UnhandledCriticalExtensions[0])
	case !allowsServerAuth(c):
		return errors.New("its extended key usage does not allow TLS servers (serverAuth)")
	}
	return checkStrength(c.PublicKey)
}

func allowsServerAuth(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}
