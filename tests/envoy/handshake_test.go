package envoy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestHandshakes: clients of every kind get through to an intercepted name, and nobody pays for what only some need.
func TestHandshakes(t *testing.T) {
	ctx := testContext(t, time.Minute)
	p := startRotated(ctx, t)
	dst := p.place(t, ask("GET", "https://"+rotatedHost+"/")).Dst
	for name, c := range map[string]struct {
		curves []tls.CurveID
		alpn   int // offered protocols: what makes a ClientHello long
		want   tls.CurveID
	}{
		"of today":             {nil, 1, tls.X25519},
		"X25519 behind others": {[]tls.CurveID{tls.X25519MLKEM768, tls.CurveP384, tls.X25519}, 1, tls.X25519},
		"P-256 only":           {[]tls.CurveID{tls.CurveP256}, 1, tls.CurveP256},
		"post-quantum only":    {[]tls.CurveID{tls.X25519MLKEM768}, 1, tls.X25519MLKEM768},
		"longer than is read":  {nil, 500, tls.X25519},
		"longer than twice":    {nil, 1200, tls.X25519},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{ServerName: rotatedHost, RootCAs: x509.NewCertPool(), CurvePreferences: c.curves, MinVersion: tls.VersionTLS13}
			config.RootCAs.AddCert(p.ca.Root())
			for i := range c.alpn {
				config.NextProtos = append(config.NextProtos, fmt.Sprintf("unknown/%d", i))
			}
			config.NextProtos = append(config.NextProtos, "http/1.1")
			got, err := p.handshake(ctx, dst, config)
			if err != nil || got != c.want {
				t.Errorf("got %s, want %s: %v", got, c.want, err)
			}
		})
	}
}

// TestConnectionsAtOnce: they are accepted one by one, and all of them.
func TestConnectionsAtOnce(t *testing.T) {
	ctx := testContext(t, time.Minute)
	p := startRotated(ctx, t)
	dst := p.place(t, ask("GET", "https://"+rotatedHost+"/")).Dst
	config := &tls.Config{ServerName: rotatedHost, RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(p.ca.Root())
	var group errgroup.Group
	for range 200 {
		group.Go(func() error {
			_, err := p.handshake(ctx, dst, config)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func (p *proxy) handshake(ctx context.Context, dst netip.AddrPort, config *tls.Config) (tls.CurveID, error) {
	raw, err := p.pod.Dial(ctx, dst)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	return conn.ConnectionState().CurveID, err
}
