package lab

import (
	"context"
	"net"
	"net/netip"
)

// DialFromInternet connects from outside of the pods, as another host or the
// kubelet would.
func DialFromInternet(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", dst.String())
}

// GetFromInternet asks a pod's port over HTTP from outside.
func GetFromInternet(ctx context.Context, dst netip.AddrPort, path string) (status int, body []byte, err error) {
	return get(ctx, path, func(ctx context.Context, _, _ string) (net.Conn, error) { return DialFromInternet(ctx, dst) })
}
