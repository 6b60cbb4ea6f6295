package envoy

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// TestNameMovesAfterDNSFailed: a resolver that fails for a while does not tie a name to the address that it had.
func TestNameMovesAfterDNSFailed(t *testing.T) {
	const name = "moves.names.example"
	ctx := testContext(t, time.Minute)
	world := testLab(t).World
	before, after := netip.MustParseAddr("192.0.2.250"), netip.MustParseAddr("192.0.2.251")
	world.Add(name, before)
	p := startProxy(ctx, t, podFaults, egress(t, `
egress:
  defaultAction: Deny
  rules:
  - {name: moves, action: Allow, hosts: [moves.names.example], ports: [{port: 443}]}
`))
	at := func() netip.Addr {
		res := p.pod.Do(ctx, lab.Request{Name: name, TLS: true})
		if res.Upstream == nil {
			t.Fatalf("nothing arrived: %s", res)
		}
		return res.Upstream.To.Addr()
	}
	if got := at(); got != before {
		t.Fatalf("arrived at %s, not %s", got, before)
	}
	failing(ctx, t, p, name)
	world.Add(name, after)
	for at() != after {
		select {
		case <-ctx.Done():
			t.Fatalf("still goes to %s, not to %s", before, after)
		case <-time.After(time.Second):
		}
	}
}

// failing lets DNS fail until the proxy has asked once.
func failing(ctx context.Context, t *testing.T, p *proxy, name string) {
	t.Helper()
	defer p.lab.World.FailDNS()()
	if _, ok := p.lab.Ledger.Wait(ctx, p.lab.Ledger.Mark(), func(e lab.Entry) bool { return e.Kind == lab.DNSQuery && e.Query == name }); !ok {
		t.Fatal("the proxy does not ask again")
	}
	time.Sleep(time.Second) // it tries several times
}
