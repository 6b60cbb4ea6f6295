package lab

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Ping sends one ICMP echo request with data from the pod and reports whether
// the kernel let it go; it does not wait for an answer.
func (p *Pod) Ping(dst netip.Addr, data []byte) error {
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1, Seq: 1, Data: data}}
	raw, err := message.Marshal(nil)
	if err != nil {
		return fmt.Errorf("build an echo request: %w", err)
	}
	return p.ns.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return fmt.Errorf("open an ICMP socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		source := p.source(dst)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return fmt.Errorf("bind the ICMP socket: %w", err)
		}
		err = unix.Sendto(fd, raw, 0, &unix.SockaddrInet4{Addr: dst.As4()})
		if err == nil {
			// A rejected packet answers with an error that waits on the socket.
			err = pendingError(fd)
		}
		return err
	})
}

func pendingError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || n == 0 {
		return err
	}
	return syscall.Errno(n)
}
