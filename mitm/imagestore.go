package mitm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// maxImageAnchors is far above any organisation's own CAs; the largest public store has about 400 certificates.
const maxImageAnchors = 1000

// blockX509 is how old tools call a certificate (RFC 7468 section 5.1).
const blockX509 = "X509 CERTIFICATE"

// ImageStore collects the certificates that a container's image trusts beyond Mozilla's roots: CAs that were baked into
// it. Nobody promises that such files are sound, so that nothing in them is an error: what cannot be read is counted.
type ImageStore struct {
	seen    map[[sha256.Size]byte]bool
	anchors Bundle
	skipped int
}

// NewImageStore knows all of Mozilla's roots, also those that Roots leaves out by now: an image's old copy of them is no CA
// of the organisation's.
func NewImageStore() *ImageStore {
	s := &ImageStore{seen: map[[sha256.Size]byte]bool{}}
	for root := range bundle.Roots() {
		s.seen[sha256.Sum256(root.Certificate)] = true
	}
	return s
}

// Anchors returns what was found, in the order in which it was found.
func (s *ImageStore) Anchors() Bundle { return s.anchors }

// Skipped counts the blocks that were left out because they are damaged, private keys, of another kind, or too many.
func (s *ImageStore) Skipped() int { return s.skipped }

// Accept decides which certificates of a file are trust anchors.
type Accept func(*x509.Certificate) bool

// Authorities accepts CAs only. It is for places in which certificates of servers lie as well, such as Debian's snakeoil.
func Authorities(c *x509.Certificate) bool {
	return c.IsCA || c.Version < 3 && bytes.Equal(c.RawIssuer, c.RawSubject)
}

// Anything accepts every certificate. It is for files that the image itself names as its trust store.
func Anything(*x509.Certificate) bool { return true }

// AddPEM reads a file of PEM blocks, or one certificate in DER.
func (s *ImageStore) AddPEM(data []byte, accept Accept) {
	begins := bytes.Count(data, []byte("-----BEGIN "))
	if begins == 0 {
		if _, err := x509.ParseCertificate(data); err == nil {
			s.add(data, accept)
		}
		return
	}
	read := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		read++
		if block.Type == blockCertificate || block.Type == blockX509 {
			s.add(block.Bytes, accept)
		} else {
			s.skipped++
		}
	}
	s.skipped += max(0, begins-read)
}

// AddDER adds certificates that were read already.
func (s *ImageStore) AddDER(certs [][]byte, accept Accept) {
	for _, der := range certs {
		s.add(der, accept)
	}
}

// add looks for a known certificate before it parses, as nearly all are known.
func (s *ImageStore) add(der []byte, accept Accept) {
	sum := sha256.Sum256(der)
	if s.seen[sum] {
		return
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || len(s.anchors) == maxImageAnchors {
		s.skipped++
		return
	}
	if accept(cert) {
		s.seen[sum] = true
		s.anchors = append(s.anchors, Anchor{SourceImage, bytes.Clone(der)})
	}
}
