package lab

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Hello is a handwritten TLS 1.2 ClientHello, for what crypto/tls refuses to
// send. TLS 1.2 shows the server's certificate in the clear, so one flight is
// enough to see who answers.
type Hello struct {
	// Names go into the SNI extension as they are: several, empty, with a NUL.
	// nil means no extension.
	Names []string
	ALPN  []string
	// Version is the legacy_version of the hello; 0 means TLS 1.2 (0x0303).
	Version uint16
}

// HelloResult is the server's first flight.
type HelloResult struct {
	Outcome Outcome
	// Alert is the description of a TLS alert, when there was one.
	Alert *uint8
	Peer  *Peer
	Err   error
}

// Hello sends h to dst and reads the answer.
func (p *Pod) Hello(ctx context.Context, dst netip.AddrPort, h Hello) HelloResult {
	record, err := h.Marshal()
	if err != nil {
		return HelloResult{Outcome: Broken, Err: err}
	}
	res := p.Raw(ctx, dst, time.Second, 0, record)
	out := HelloResult{Outcome: res.Outcome, Err: res.Err}
	if res.Outcome == Answered {
		out.Peer, out.Alert, out.Err = readFlight(res.Data)
		if out.Peer == nil {
			out.Outcome = Broken
		}
	}
	return out
}

// Marshal builds the TLS record.
func (h Hello) Marshal() ([]byte, error) {
	version := h.Version
	if version == 0 {
		version = 0x0303
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(0x0301)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // client_hello
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(version)
			b.AddBytes(random)
			b.AddUint8LengthPrefixed(func(*cryptobyte.Builder) {})
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, suite := range []uint16{0xc02b, 0xc02f, 0xc009, 0xc013} {
					b.AddUint16(suite)
				}
			})
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) })
			b.AddUint16LengthPrefixed(h.extensions)
		})
	})
	return b.Bytes()
}

func (h Hello) extensions(b *cryptobyte.Builder) {
	if h.Names != nil {
		extension(b, 0, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, name := range h.Names {
					b.AddUint8(0) // host_name
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
				}
			})
		})
	}
	if h.ALPN != nil {
		extension(b, 16, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, p := range h.ALPN {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(p)) })
				}
			})
		})
	}
	extension(b, 10, list16(0x001d, 0x0017))
	extension(b, 11, func(b *cryptobyte.Builder) { b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) }) })
	extension(b, 13, list16(0x0403, 0x0804, 0x0401))
}

func extension(b *cryptobyte.Builder, kind uint16, body cryptobyte.BuilderContinuation) {
	b.AddUint16(kind)
	b.AddUint16LengthPrefixed(body)
}

func list16(values ...uint16) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, v := range values {
				b.AddUint16(v)
			}
		})
	}
}

// readFlight looks for a certificate or an alert in the server's records.
func readFlight(data []byte) (*Peer, *uint8, error) {
	var handshake []byte
	for len(data) >= recordHeader {
		length := int(binary.BigEndian.Uint16(data[3:]))
		if len(data) < recordHeader+length {
			break
		}
		body := data[recordHeader : recordHeader+length]
		switch {
		case data[0] == recordAlert && length == 2:
			return nil, &body[1], nil
		case data[0] == recordHandshake:
			handshake = append(handshake, body...)
		}
		data = data[recordHeader+length:]
	}
	return readCertificate(handshake)
}

func readCertificate(handshake []byte) (*Peer, *uint8, error) {
	in := cryptobyte.String(handshake)
	for !in.Empty() {
		var kind uint8
		var body, list, der cryptobyte.String
		if !in.ReadUint8(&kind) || !in.ReadUint24LengthPrefixed(&body) {
			break
		}
		const certificate = 11
		if kind != certificate {
			continue
		}
		if !body.ReadUint24LengthPrefixed(&list) || !list.ReadUint24LengthPrefixed(&der) {
			return nil, nil, errors.New("read the server's certificate message: it is cut off")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("read the server's certificate: %w", err)
		}
		return peerOf([]*x509.Certificate{cert}), nil, nil
	}
	return nil, nil, errors.New("the server answered with neither certificate nor alert")
}
