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

// OpenFromInternet is DialFromInternet for the clients of this package.
func OpenFromInternet(ctx context.Context, dst netip.AddrPort) (*Session, error) {
	c, err := DialFromInternet(ctx, dst)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	counting := &countingConn{Conn: c}
	return &Session{Conn: counting, raw: counting}, nil
}
