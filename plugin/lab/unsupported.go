//go:build !linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/netproxy/netproxy/webhook/capture"
)

// Streams are the standard streams of a program that runs in the lab.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Inside reports false: there is no lab on this system.
func Inside() bool { return false }

// Main reports [ErrUnsupported] and returns 1.
func Main(func() int) int {
	fmt.Fprintln(os.Stderr, ErrUnsupported)
	return 1
}

// Enter returns [ErrUnsupported].
func Enter(context.Context, []string, Streams) (int, error) { return 0, ErrUnsupported }

// EnterPod returns [ErrUnsupported].
func EnterPod(context.Context, []string, Streams) (int, error) { return 0, ErrUnsupported }

type platform struct{}

func newPlatform() (platform, error) { return platform{}, ErrUnsupported }

func (platform) close() error { return nil }

type podThread struct{}

func (*podThread) close() error { return nil }

type netNS struct{}

func (netNS) do(func() error) error { return ErrUnsupported }

func (netNS) close() error { return nil }

func (l *Lab) join(context.Context, JoinOptions) error { return ErrUnsupported }

func (l *Lab) newPod(int) (*Pod, error) { return nil, ErrUnsupported }

func (e *Envoy) start(context.Context) error { return ErrUnsupported }

func originalDestination(net.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, ErrUnsupported
}

func hasUIDs() bool { return false }

func kernelHasIPv6() bool { return false }

func serveInternet(context.Context, *World, *Ledger, []netip.Addr) ([]server, error) {
	return nil, ErrUnsupported
}

func divert(uint16, []netip.Addr) error { return ErrUnsupported }

// Ping returns [ErrUnsupported].
func (p *Pod) Ping(netip.Addr, []byte) error { return ErrUnsupported }

// Listening returns [ErrUnsupported].
func (p *Pod) Listening() ([]netip.AddrPort, error) { return nil, ErrUnsupported }

// Run returns [ErrUnsupported].
func (p *Pod) Run(*exec.Cmd) error { return ErrUnsupported }

// RunPrivileged returns [ErrUnsupported].
func (p *Pod) RunPrivileged(*exec.Cmd) error { return ErrUnsupported }

// Capture returns [ErrUnsupported].
func (p *Pod) Capture(capture.DefaultAction) error { return ErrUnsupported }
