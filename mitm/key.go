package mitm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	redacted = "[redacted]"

	// scalarTries bounds the rejection sampling of a private key. One try fails with a probability of 2^-32, so
	// that only a broken source of randomness reaches the bound.
	scalarTries = 16

	minRSABits = 2048
)

// PrivateKey is a private key that no formatting, logging or encoding shows: all of them give "[redacted]".
// RevealPEM is the only way out. The zero value holds no key.
type PrivateKey struct {
	// reveal is a closure because fmt prints the unexported fields of an enclosing struct by reflection, around
	// every method; of a function it can print no more than the address.
	reveal func() crypto.Signer
}

// RevealPEM returns the key as a PKCS #8 "PRIVATE KEY" block. The caller is responsible for where it goes.
func (k PrivateKey) RevealPEM() ([]byte, error) {
	if k.reveal == nil {
		return nil, errors.New("encode private key: there is no key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.reveal())
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPKCS8, Bytes: der}), nil
}

// Format implements fmt.Formatter for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (PrivateKey) String() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which encoding/json and YAML encoders use.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

func (k PrivateKey) public() crypto.PublicKey { return k.reveal().Public() }

func (k PrivateKey) belongsTo(cert *x509.Certificate) bool {
	return samePublicKey(k.public(), cert.PublicKey)
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

func wrapKey(s crypto.Signer) PrivateKey {
	return PrivateKey{reveal: func() crypto.Signer { return s }}
}

// generateKey draws an ECDSA P-256 key. It reads the scalar itself because ecdsa.GenerateKey ignores its reader
// since Go 1.26, which would make the result impossible to repeat.
func generateKey(rand io.Reader) (PrivateKey, error) {
	scalar := make([]byte, 32)
	for range scalarTries {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return PrivateKey{}, fmt.Errorf("generate private key: read randomness: %w", err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return wrapKey(key), nil
		}
	}
	return PrivateKey{}, errors.New("generate private key: the source of randomness gives no usable numbers")
}

// parseKey reads the one private key of a PEM file: PKCS #8, SEC 1 or PKCS #1, unencrypted.
func parseKey(data []byte) (PrivateKey, error) {
	blocks, err := keyBlocks(data)
	if err != nil {
		return PrivateKey{}, err
	}
	if len(blocks) != 1 {
		return PrivateKey{}, fmt.Errorf("found %d private keys, want exactly 1", len(blocks))
	}
	signer, err := decodeKey(blocks[0])
	if err != nil {
		return PrivateKey{}, err
	}
	return wrapKey(signer), checkStrength(signer.Public())
}

func decodeKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case blockPKCS8:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case blockSEC1:
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case blockPKCS1:
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a %q block is no supported private key: give an unencrypted PKCS #8 key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("parse %q block: %w", block.Type, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

// checkStrength accepts what TLS clients in use accept in a chain. Ed25519 is left out because browsers and
// BoringSSL do not offer it by default.
func checkStrength(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("RSA key of %d bits is too short: use at least %d", k.N.BitLen(), minRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return errors.New("curve P-224 is not accepted by TLS clients: use P-256 or P-384")
		}
		return nil
	default:
		return fmt.Errorf("key type %T is not accepted by many TLS clients: use ECDSA P-256 or RSA", key)
	}
}

// repeatable signs without randomness: ECDSA after RFC 6979 (crypto/ecdsa does so for a nil reader), RSA with
// PKCS #1 v1.5 needs none.
type repeatable struct{ key PrivateKey }

func (r repeatable) Public() crypto.PublicKey { return r.key.public() }

func (r repeatable) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.key.reveal().Sign(nil, digest, opts)
}
