package lab

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// NewECH makes a key for encrypted ClientHellos whose outer name is
// publicName, and the ECHConfigList (RFC 9849, section 4) that a client needs.
func NewECH(publicName string) (tls.EncryptedClientHelloKey, []byte, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return tls.EncryptedClientHelloKey{}, nil, fmt.Errorf("make an ECH key: %w", err)
	}
	const (
		draft      = 0xfe0d
		x25519     = 0x0020 // DHKEM(X25519, HKDF-SHA256)
		hkdfSHA256 = 0x0001
		aes128     = 0x0001
	)
	var config cryptobyte.Builder
	config.AddUint16(draft)
	config.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // config_id
		b.AddUint16(x25519)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(private.PublicKey().Bytes()) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(hkdfSHA256); b.AddUint16(aes128) })
		b.AddUint8(32) // maximum_name_length
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(publicName)) })
		b.AddUint16(0) // extensions
	})
	raw, err := config.Bytes()
	if err != nil {
		return tls.EncryptedClientHelloKey{}, nil, fmt.Errorf("build an ECH configuration: %w", err)
	}
	var list cryptobyte.Builder
	list.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(raw) })
	out, err := list.Bytes()
	return tls.EncryptedClientHelloKey{Config: raw, PrivateKey: private.Bytes(), SendAsRetry: true}, out, err
}
