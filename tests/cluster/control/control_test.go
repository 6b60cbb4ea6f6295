package control

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/plugin/lab"
)

// TestClient asks a world that has no network for names; what needs traffic is tested on the cluster.
func TestClient(t *testing.T) {
	ctx := context.Background()
	world, err := lab.NewWorld()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "world.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(world, &lab.Ledger{})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	c := NewClient(socket)
	want := []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}
	got, err := c.Add(ctx, "Registry.Example.com.", want...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("addresses differ (-want +got):\n%s", diff)
	}
	if err := c.Override(ctx, "registry.example.com"); err != nil {
		t.Fatal(err)
	}
	if addrs, known := world.Lookup("registry.example.com"); known {
		t.Errorf("the overridden name has the addresses %v", addrs)
	}
	if err := c.ClearOverrides(ctx); err != nil {
		t.Fatal(err)
	}
	if _, known := world.Lookup("registry.example.com"); !known {
		t.Error("the name is gone after the overrides were cleared")
	}
	mark, err := c.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := c.Since(ctx, mark); err != nil || len(list) != 0 {
		t.Errorf("nothing has happened, but the ledger has %v, %v", list, err)
	}
}
