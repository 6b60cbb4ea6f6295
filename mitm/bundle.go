package mitm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Source says where an anchor comes from. It is part of the names in a Java trust store.
type Source string

// The sources in the order of a bundle.
const (
	SourceMozilla    Source = "mozilla"
	SourcePolicy     Source = "netproxy"
	SourceAdditional Source = "additional"
	SourceImage      Source = "image"
)

// maxServerLifetime is the longest life of a public TLS certificate issued before 15 March 2026 (CA/Browser Forum Baseline
// Requirements, section 6.3.2).
const maxServerLifetime = 398 * 24 * time.Hour

// Anchor is a certificate that is trusted without further proof.
type Anchor struct {
	Source Source
	DER    []byte
}

// Bundle is an ordered list of anchors without duplicates.
type Bundle []Anchor

// Roots returns the roots of Mozilla's program. A root that Mozilla accepts only for certificates issued before some
// date stays as long as such a certificate can be in force, and then goes: neither PEM nor JKS can say "issued before",
// so that keeping it would trust more than Mozilla does for ever, and dropping it at once would break servers that
// Mozilla still accepts.
func Roots(now time.Time) Bundle {
	oldest := []*x509.Certificate{{NotBefore: now.Add(-maxServerLifetime)}}
	var roots Bundle
	for root := range bundle.Roots() {
		if root.Constraint == nil || root.Constraint(oldest) == nil {
			roots = append(roots, Anchor{SourceMozilla, root.Certificate})
		}
	}
	return roots
}

// ParseAdditional reads a user's additional CAs, in order and without duplicates. A private key or a damaged block is an error.
// Certificates need not be CAs: a self-signed server is trusted this way too.
func ParseAdditional(data []byte) (Bundle, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("read additional CAs: %w", err)
	}
	return anchors(SourceAdditional, certs), nil
}

func anchors(source Source, certs []*x509.Certificate) Bundle {
	out := make(Bundle, 0, len(certs))
	for _, c := range certs {
		out = append(out, Anchor{source, c.Raw})
	}
	return out
}

// WorkloadBundle is what the workload trusts: public roots, the policy's CAs (Rotation.Trusted), additional CAs.
// The additional ones are ordered by content, as they come from objects that are read in any order.
func WorkloadBundle(roots Bundle, policy []*x509.Certificate, additional Bundle) Bundle {
	return join(roots, anchors(SourcePolicy, policy), sorted(additional))
}

// WithImage appends what a container's image trusts besides, ordered by content.
func (b Bundle) WithImage(image Bundle) Bundle { return join(b, sorted(image)) }

// ErrPolicyCA is wrapped by the error about an additional CA that would make Envoy accept the policy's own leaves upstream.
var ErrPolicyCA = errors.New("would make the proxy accept its own certificates as those of real servers")

// UpstreamBundle is what Envoy verifies servers against: public roots and additional CAs, never the policy's own CA
// (Rotation.Chains). An additional CA that has the key of the policy's CA, or that signed it, is an error.
func UpstreamBundle(roots Bundle, policy []*x509.Certificate, additional Bundle) (Bundle, error) {
	for _, a := range additional {
		cert, err := x509.ParseCertificate(a.DER)
		if err != nil {
			return nil, fmt.Errorf("build upstream bundle: parse additional CA: %w", err)
		}
		if i := slices.IndexFunc(policy, func(own *x509.Certificate) bool { return vouchesFor(cert, own) }); i >= 0 {
			return nil, fmt.Errorf("build upstream bundle: additional CA %q is, or signed, the policy's own CA %q and %w: remove it, or intercept with a CA that is not below it", cert.Subject, policy[i].Subject, ErrPolicyCA)
		}
	}
	return join(roots, sorted(additional)), nil
}

// vouchesFor compares keys, not bytes: the same CA can have several certificates.
func vouchesFor(cert, own *x509.Certificate) bool {
	return samePublicKey(cert.PublicKey, own.PublicKey) ||
		bytes.Equal(cert.RawSubject, own.RawIssuer) && cert.CheckSignature(own.SignatureAlgorithm, own.RawTBSCertificate, own.Signature) == nil
}

func sorted(b Bundle) Bundle {
	b = slices.Clone(b)
	slices.SortFunc(b, func(x, y Anchor) int { return bytes.Compare(x.DER, y.DER) })
	return b
}

func join(parts ...Bundle) Bundle {
	seen := map[[sha256.Size]byte]bool{}
	var out Bundle
	for _, a := range slices.Concat(parts...) {
		sum := sha256.Sum256(a.DER)
		if !seen[sum] {
			seen[sum] = true
			out = append(out, a)
		}
	}
	return out
}

// PEM encodes the bundle for SSL_CERT_FILE and the like.
func (b Bundle) PEM() []byte {
	var out bytes.Buffer
	for _, a := range b {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: a.DER}))
	}
	return out.Bytes()
}

// alias names the anchor in a Java trust store: source and the start of the SHA-256 fingerprint.
func (a Anchor) alias() string {
	sum := sha256.Sum256(a.DER)
	return string(a.Source) + "-" + hex.EncodeToString(sum[:10])
}
