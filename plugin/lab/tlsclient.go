package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"
)

// TLS record types (RFC 8446, section 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
	recordHeader    = 5
)

// TLSOptions say how the client shakes hands. The client verifies nothing: it
// reports whom it met.
type TLSOptions struct {
	// SNI is sent as it is, an IP literal too; empty means no SNI. A trailing
	// dot cannot be sent this way: see [Hello].
	SNI  string
	ALPN []string
	// Min and Max are TLS versions; 0 means 1.2 and 1.3.
	Min, Max uint16
	// SegmentSize cuts the ClientHello into TCP segments of so many bytes.
	SegmentSize int
	// RecordSize cuts the ClientHello into TLS records of so many bytes.
	RecordSize int
	// Delay is the time between the connection and the ClientHello.
	Delay time.Duration
	// ECH is an ECHConfigList; SNI is the inner name then.
	ECH []byte
}

// Peer is the certificate that the other side showed.
type Peer struct {
	Issuer   string   `json:"issuer"`
	DNSNames []string `json:"dnsNames,omitempty"`
	IPs      []string `json:"ips,omitempty"`
}

// FromLabCA reports whether an upstream of the lab showed this certificate
// itself, that is: nobody intercepted the connection.
func (p *Peer) FromLabCA() bool { return p != nil && p.Issuer == AuthorityName }

// Session is a connection of the workload, with TLS or without.
type Session struct {
	net.Conn
	Peer    *Peer
	Version uint16
	ALPN    string

	raw *countingConn
}

// Open connects to dst and, unless opts is nil, shakes hands. On failure the
// outcome says how it ended.
func (p *Pod) Open(ctx context.Context, dst netip.AddrPort, opts *TLSOptions) (*Session, Outcome, error) {
	c, err := p.Dial(ctx, dst)
	if err != nil {
		return nil, classify(err), err
	}
	return newSession(ctx, c, opts)
}

func newSession(ctx context.Context, c net.Conn, opts *TLSOptions) (*Session, Outcome, error) {
	forget(c)
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	s := &Session{raw: &countingConn{Conn: c}}
	s.Conn = s.raw
	if opts == nil {
		return s, Answered, nil
	}
	conn := tls.Client(&helloConn{Conn: s.raw, opts: *opts}, opts.config())
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		outcome := classify(err)
		if s.raw.read > 0 || errors.As(err, new(tls.AlertError)) {
			outcome = Broken
		}
		return nil, outcome, err
	}
	state := conn.ConnectionState()
	s.Conn, s.Version, s.ALPN, s.Peer = conn, state.Version, state.NegotiatedProtocol, peerOf(state.PeerCertificates)
	return s, Answered, nil
}

func (o TLSOptions) config() *tls.Config {
	c := &tls.Config{
		InsecureSkipVerify: true, // the lab looks at every certificate
		ServerName:         o.SNI, NextProtos: o.ALPN,
		MinVersion: o.Min, MaxVersion: o.Max, EncryptedClientHelloConfigList: o.ECH,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if o.ECH != nil {
		c.MinVersion = tls.VersionTLS13
		c.EncryptedClientHelloRejectionVerify = func(tls.ConnectionState) error { return nil }
	}
	if _, err := netip.ParseAddr(o.SNI); err == nil {
		// crypto/tls leaves out addresses, but cuts the dot that hides one.
		c.ServerName += "."
	}
	return c
}

func peerOf(certs []*x509.Certificate) *Peer {
	if len(certs) == 0 {
		return nil
	}
	p := &Peer{Issuer: certs[0].Issuer.CommonName, DNSNames: certs[0].DNSNames}
	for _, ip := range certs[0].IPAddresses {
		p.IPs = append(p.IPs, ip.String())
	}
	return p
}

// helloConn sends the first flight, which is the ClientHello, as the options say.
type helloConn struct {
	net.Conn
	opts TLSOptions
	sent bool
}

func (c *helloConn) Write(p []byte) (int, error) {
	if c.sent {
		return c.Conn.Write(p)
	}
	c.sent = true
	time.Sleep(c.opts.Delay)
	out := p
	if c.opts.RecordSize > 0 {
		out = splitRecords(p, c.opts.RecordSize)
	}
	if err := writeSegments(c.Conn, out, c.opts.SegmentSize); err != nil {
		return 0, err
	}
	return len(p), nil
}

// splitRecords cuts TLS records into smaller ones.
func splitRecords(p []byte, size int) []byte {
	var out bytes.Buffer
	for len(p) >= recordHeader {
		length := min(int(binary.BigEndian.Uint16(p[3:])), len(p)-recordHeader)
		payload := p[recordHeader : recordHeader+length]
		for len(payload) > 0 {
			n := min(size, len(payload))
			out.Write(p[:3])
			out.Write(binary.BigEndian.AppendUint16(nil, uint16(n)))
			out.Write(payload[:n])
			payload = payload[n:]
		}
		p = p[recordHeader+length:]
	}
	return out.Bytes()
}

// writeSegments writes p in pieces that arrive one by one.
func writeSegments(c net.Conn, p []byte, size int) error {
	if size <= 0 {
		size = len(p)
	}
	for len(p) > 0 {
		n := min(size, len(p))
		if _, err := c.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; len(p) > 0 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}
