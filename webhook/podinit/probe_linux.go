package podinit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// probeTimeout is far above what a connection inside one kernel takes.
const probeTimeout = 2 * time.Second

// probe opens a connection to an address of documentation (RFC 5737, RFC 3849) and expects it at the redirect port. Rules
// can be there and not work: connection tracking may be missing, or somebody else's rules may come first.
func probe(port uint16) error {
	for _, f := range families() {
		if err := f.probe(port); err != nil {
			return err
		}
	}
	return nil
}

// family is an address family, with the address that is redirected to and one that is redirected from.
type family struct{ name, loopback, outside string }

func families() []family {
	return []family{{"IPv4", "127.0.0.1", "192.0.2.1:80"}, {"IPv6", "::1", "[2001:db8::1]:80"}}
}

func (f family) probe(port uint16) error {
	at := netip.AddrPortFrom(netip.MustParseAddr(f.loopback), port)
	if err := probeFamily(at, f.outside); err != nil {
		return fmt.Errorf("the rules are programmed, but a connection to %s does not arrive at %s: %w; look for other packet filter rules in the pod, and for the kernel modules nf_nat and nf_conntrack", f.outside, at, err)
	}
	return nil
}

func probeFamily(at netip.AddrPort, outside string) error {
	if !hasRoute(outside) {
		return nil // nothing leaves this way
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	listener, err := lc.Listen(ctx, "tcp", at.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		// Init containers run again when the kubelet lost track of them: the proxy itself answers.
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil // no ::1 in this pod: the redirect leads to nobody
	case err != nil:
		return fmt.Errorf("listen: %w", err)
	default:
		defer func() { _ = listener.Close() }()
	}
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", outside)
	if err != nil {
		return err
	}
	return conn.Close()
}

// hasRoute connects a datagram socket, which sends nothing: an error of the TCP connection itself could come from a router.
func hasRoute(to string) bool {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
