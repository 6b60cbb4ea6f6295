package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/capture"
)

// The network: this process's namespace is the pod, in which clients and proxies are; another one is the Internet. They
// are joined by a veth pair.
const (
	podAddress      = "10.244.0.2"  // the proxies'
	clientAddress   = "10.244.0.16" // captured: what leaves from here is redirected
	gatewayAddress  = "10.244.0.1"
	upstreamAddress = "203.0.113.10"
	resolverAddress = "203.0.113.53"
)

// upstreamName is the name that the clients ask for.
const upstreamName = "api.bench.example"

// network gives sockets in the Internet.
type network struct {
	internet, pod *os.File
}

func newNetwork() (*network, error) {
	pod, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	n := &network{pod: pod}
	if n.internet, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := n.join(); err != nil {
		return nil, fmt.Errorf("join pod and Internet: %w", err)
	}
	return n, nil
}

func newNamespace() (file *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			file, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	return file, err
}

// listening runs fn on a thread in the Internet. Sockets that fn makes stay there, and so do those that they accept.
func (n *network) listening(fn func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := unix.Setns(int(n.internet.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter the Internet: %w", err)
			return
		}
		result <- fn()
	}()
	return <-result
}

func (n *network) join() error {
	inside, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer inside.Close()
	outside, err := netlink.NewHandleAt(netns.NsHandle(int(n.internet.Fd())))
	if err != nil {
		return err
	}
	defer outside.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "net0", PeerNamespace: netlink.NsFd(int(n.internet.Fd()))}
	if err := inside.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	if err := errors.Join(
		setUp(inside, "lo"), setUp(outside, "lo", upstreamAddress+"/32", resolverAddress+"/32"),
		setUp(outside, "net0", gatewayAddress+"/24"), setUp(inside, "eth0", podAddress+"/24", clientAddress+"/24"),
	); err != nil {
		return err
	}
	return inside.RouteReplace(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: net.ParseIP(gatewayAddress), Src: net.ParseIP(podAddress)})
}

func setUp(h *netlink.Handle, name string, prefixes ...string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("start interface %s: %w", name, err)
	}
	for _, text := range prefixes {
		p := netip.MustParsePrefix(text)
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
		if err := h.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", text, name, err)
		}
	}
	return nil
}

// redirectTo programs the pod's packet filter as a sidecar has it, with another port than the sidecar's for comparison.
// The client is told from the proxies by its address, since they have one UID here.
func redirectTo(port uint16) error {
	rules, err := capture.Rules(capture.Config{
		RedirectPort: port, AdminPort: uint16(v1alpha1.DefaultAdminPort),
		Resolvers:      []netip.Addr{netip.MustParseAddr(resolverAddress)},
		CaptureSources: []netip.Prefix{netip.MustParsePrefix(clientAddress + "/32")},
	})
	if err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	return capture.Apply(conn, rules)
}

// manyConnections lets a port be used again soon: each round makes thousands of connections.
func manyConnections() {
	for _, name := range []string{"time_wait", "close", "fin_wait", "last_ack"} {
		_ = os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_"+name, []byte("1"), 0o644)
	}
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("2048 65000"), 0o644)
}
