package mitm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// The block types of RFC 7468 and of OpenSSL's older key formats.
const (
	blockCertificate = "CERTIFICATE"
	blockTrusted     = "TRUSTED CERTIFICATE"
	blockPKCS8       = "PRIVATE KEY"
	blockSEC1        = "EC PRIVATE KEY"
	blockPKCS1       = "RSA PRIVATE KEY"
	blockECParams    = "EC PARAMETERS"
)

// ErrPrivateKey is wrapped by the errors of readers of certificates that met a private key.
var ErrPrivateKey = errors.New("contains a private key, which does not belong there: remove it, and treat it as disclosed")

// ParseCertificates reads PEM certificates, at least one, without duplicates and in their order. Text around the
// blocks is allowed, as RFC 7468 section 2 has it. Private keys, other blocks and damaged blocks are errors.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	blocks, err := decodeBlocks(data)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for i, block := range blocks {
		cert, err := parseCertificate(block)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", i+1, err)
		}
		certs = appendNew(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("no certificate found: a %q block in PEM is needed", blockCertificate)
	}
	return certs, nil
}

func parseCertificate(block *pem.Block) (*x509.Certificate, error) {
	switch {
	case strings.HasSuffix(block.Type, blockPKCS8):
		return nil, ErrPrivateKey
	case block.Type == blockTrusted:
		return nil, fmt.Errorf("%q is OpenSSL's own format: convert it with openssl x509", blockTrusted)
	case block.Type != blockCertificate:
		return nil, fmt.Errorf("%q is no certificate", block.Type)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return cert, nil
}

func appendNew(certs []*x509.Certificate, cert *x509.Certificate) []*x509.Certificate {
	for _, c := range certs {
		if c.Equal(cert) {
			return certs
		}
	}
	return append(certs, cert)
}

// keyBlocks returns the blocks of a key file that can be keys. OpenSSL writes the curve in a block of its own.
func keyBlocks(data []byte) ([]*pem.Block, error) {
	blocks, err := decodeBlocks(data)
	if err != nil {
		return nil, err
	}
	var keys []*pem.Block
	for _, b := range blocks {
		if b.Type != blockECParams {
			keys = append(keys, b)
		}
	}
	return keys, nil
}

// decodeBlocks is pem.Decode that does not pass over a damaged block, as the caller would then take half of the
// file for all of it.
func decodeBlocks(data []byte) ([]*pem.Block, error) {
	begins := bytes.Count(data, []byte("-----BEGIN "))
	var blocks []*pem.Block
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	if len(blocks) != begins {
		return nil, fmt.Errorf("of %d PEM blocks only %d can be read: the file is damaged", begins, len(blocks))
	}
	return blocks, nil
}

func encodeCertificates(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: c.Raw}))
	}
	return out.Bytes()
}
