package lab

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// clientAddrs is how many addresses per family the workload has. Several of
// them make room for more connections at a time.
const clientAddrs = 4

// Pod is a network and mount namespace with the packet filter of a pod under
// control. Its workload speaks from ClientAddrs, its proxy from ProxyAddrs.
type Pod struct {
	Index       int
	ProxyAddrs  []netip.Addr
	ClientAddrs []netip.Addr
	// RedirectPort and AdminPort are the policy's; a change takes effect with
	// the next Capture and StartEnvoy.
	RedirectPort, AdminPort uint16

	lab *Lab
	// thread starts the pod's programs; nil for a pod that [Join] found.
	thread *podThread
	ns     netNS
	dir    string
	// link is the pod's interface to the Internet.
	link string
	turn atomic.Uint64

	mu    sync.Mutex
	envoy *Envoy
	// exposed are programs by their own path and their path in the pod.
	exposed map[string]string
}

// address takes the pod's addresses from two networks, a /24 and a /64.
func (p *Pod) address(v4, v6 netip.Addr) {
	p.ProxyAddrs = []netip.Addr{numbered(v4, 2)}
	for i := range byte(clientAddrs) {
		p.ClientAddrs = append(p.ClientAddrs, numbered(v4, 16+i))
	}
	if !p.lab.IPv6 {
		return
	}
	p.ProxyAddrs = append(p.ProxyAddrs, numbered(v6, 2))
	for i := range byte(clientAddrs) {
		p.ClientAddrs = append(p.ClientAddrs, numbered(v6, 16+i))
	}
}

// numbered is an address with another last byte.
func numbered(a netip.Addr, last byte) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] = last
	out, _ := netip.AddrFromSlice(b)
	return out
}

// gateways are the Internet's ends of the pod's link, in the order of ProxyAddrs.
func (p *Pod) gateways() []netip.Addr {
	var out []netip.Addr
	for _, a := range p.ProxyAddrs {
		out = append(out, numbered(a, 1))
	}
	return out
}

func podPrefix(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

// source picks the workload's address for a connection to dst. Loopback needs
// none.
func (p *Pod) source(dst netip.Addr) netip.Addr {
	if dst.IsLoopback() || dst.IsUnspecified() {
		return netip.Addr{}
	}
	n := int(p.turn.Add(1) % clientAddrs)
	if dst.Is6() && !dst.Is4In6() {
		n += clientAddrs
	}
	if n >= len(p.ClientAddrs) {
		return netip.Addr{}
	}
	return p.ClientAddrs[n]
}

// IsProxy reports whether a belongs to the pod's proxy, not to its workload.
func (p *Pod) IsProxy(a netip.Addr) bool {
	for _, own := range p.ProxyAddrs {
		if own == a.Unmap() {
			return true
		}
	}
	return false
}

func (p *Pod) close() error {
	p.mu.Lock()
	envoy := p.envoy
	p.mu.Unlock()
	var err error
	if envoy != nil {
		err = envoy.Stop()
	}
	if p.thread == nil {
		return errors.Join(err, p.ns.close())
	}
	return errors.Join(err, p.thread.close())
}

// parseListener reads one line of /proc/net/tcp or tcp6.
func parseListener(line string) (netip.AddrPort, bool) {
	const listen = "0A"
	f := strings.Fields(line)
	if len(f) < 4 || f[3] != listen {
		return netip.AddrPort{}, false
	}
	a, err := parseProcAddr(f[1])
	return a, err == nil
}

// parseProcAddr reads ADDRESS:PORT as /proc/net writes it: hexadecimal, the
// address in words of 32 bits in the machine's byte order (little-endian on
// everything that Envoy is built for).
func parseProcAddr(s string) (netip.AddrPort, error) {
	host, portText, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("parse socket address %q", s)
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	addr, ok := netip.AddrFromSlice(raw)
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("parse socket address %q", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}
