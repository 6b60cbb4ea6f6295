package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Outcome is how a connection ended for the client.
type Outcome string

// Outcomes. Closed and Reset mean that not one byte came back.
const (
	Answered Outcome = "answered"
	Closed   Outcome = "closed"
	Reset    Outcome = "reset"
	Refused  Outcome = "refused"
	Timeout  Outcome = "timeout"
	// Broken is an answer that is not what the protocol asks for, for instance
	// a TLS alert.
	Broken Outcome = "broken"
)

// Dial opens a TCP connection from the pod's workload to dst, whoever lives
// there.
func (p *Pod) Dial(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
	return p.dial(ctx, "tcp", dst)
}

// DialUDP makes a UDP socket of the pod's workload that sends to dst.
func (p *Pod) DialUDP(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
	return p.dial(ctx, "udp", dst)
}

func (p *Pod) dial(ctx context.Context, network string, dst netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if source := p.source(dst.Addr()); source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: source.AsSlice()}
		}
	}
	d.SetMultipathTCP(false)
	var c net.Conn
	err := p.ns.do(func() (err error) {
		c, err = d.DialContext(ctx, network, dst.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial from pod %d: %w", p.Index, err)
	}
	return c, nil
}

// forget makes closing c leave no trace in the connection table, so that many
// connections can follow each other quickly.
func forget(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// classify says what an error of a connection means.
func classify(err error) Outcome {
	var alert interface{ Timeout() bool }
	switch {
	case err == nil:
		return Answered
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &alert) && alert.Timeout():
		return Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Closed
	}
	return Broken
}

// RawResult is what a raw connection got.
type RawResult struct {
	Outcome Outcome
	Data    []byte
	Err     error
}

// Raw dials dst, writes every chunk (with pause between them) and reads until
// the peer closes, quiet passes without a byte, or ctx ends.
func (p *Pod) Raw(ctx context.Context, dst netip.AddrPort, quiet, pause time.Duration, chunks ...[]byte) RawResult {
	c, err := p.Dial(ctx, dst)
	if err != nil {
		return RawResult{Outcome: classify(err), Err: err}
	}
	defer func() { _ = c.Close() }()
	forget(c)
	for i, chunk := range chunks {
		if i > 0 {
			time.Sleep(pause)
		}
		if _, err := c.Write(chunk); err != nil {
			break // what came back says more
		}
	}
	return readQuiet(ctx, c, quiet)
}

// readQuiet reads until the end or until nothing comes for a while.
func readQuiet(ctx context.Context, c net.Conn, quiet time.Duration) RawResult {
	var out RawResult
	buf := make([]byte, 4096)
	for {
		deadline := time.Now().Add(quiet)
		if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
			deadline = d
		}
		_ = c.SetReadDeadline(deadline)
		n, err := c.Read(buf)
		out.Data = append(out.Data, buf[:n]...)
		if err != nil {
			out.Outcome, out.Err = classify(err), err
			if len(out.Data) > 0 {
				out.Outcome = Answered
			}
			return out
		}
	}
}

// countingConn knows whether a byte came back.
type countingConn struct {
	net.Conn
	read int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read += n
	return n, err
}
