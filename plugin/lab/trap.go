package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Trap listens inside the pod, on all its own addresses, loopback included,
// and records who connects in the ledger until stop is called. It stands for
// the pod's other containers: a proxy that lets itself be led to loopback
// reaches them.
func (p *Pod) Trap(ctx context.Context, port uint16) (stop func() error, err error) {
	var ln net.Listener
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	err = p.ns.do(func() (err error) {
		ln, err = lc.Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in pod %d: %w", p.Index, err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.caught(c)
		}
	}()
	return func() error {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("close the trap: %w", err)
		}
		return nil
	}, nil
}

func (p *Pod) caught(c net.Conn) {
	defer func() { _ = c.Close() }()
	from, to := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
	entry := p.lab.Ledger.add(Entry{Kind: Connection, Proto: "tcp", From: plain(from), To: plain(to)})
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		p.lab.Ledger.change(func() {
			if len(entry.Raw) < maxRaw {
				entry.Raw = append(entry.Raw, buf[:n]...)
			}
		})
		if err != nil {
			return
		}
	}
}
