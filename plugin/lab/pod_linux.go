package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/netproxy/netproxy/webhook/capture"
)

// newPod makes the namespaces of pod number n, connects them to the Internet
// and programs the packet filter.
func (l *Lab) newPod(n int) (*Pod, error) {
	if err := privateMounts(); err != nil {
		return nil, err
	}
	thread, err := newPodThread(l.home)
	if err != nil {
		return nil, err
	}
	p := &Pod{lab: l, Index: n, thread: thread, ns: thread.ns, dir: filepath.Join(baseDir, fmt.Sprintf("pod%d", n)), link: "eth0",
		RedirectPort: RedirectPort, AdminPort: AdminPort, exposed: map[string]string{}}
	p.address(netip.AddrFrom4([4]byte{10, 244, byte(n)}), netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x10, 2, 0x44, 0, byte(n)}))
	if err := errors.Join(p.connect(), p.mount()); err != nil {
		return nil, errors.Join(fmt.Errorf("pod %d: %w", n, err), thread.close())
	}
	if err := p.Capture(capture.Deny); err != nil {
		return nil, errors.Join(err, thread.close())
	}
	return p, nil
}

// connect makes the veth pair and gives both ends their addresses.
func (p *Pod) connect() error {
	name := fmt.Sprintf("pod%d", p.Index)
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: p.link, PeerNamespace: netlink.NsFd(int(p.ns.file.Fd()))}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(int(p.ns.file.Fd())))
	if err != nil {
		return fmt.Errorf("open netlink in the pod: %w", err)
	}
	defer inside.Close()
	outside, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer outside.Close()
	if err := setUp(outside, name, p.gateways()...); err != nil {
		return err
	}
	if err := setUp(inside, "lo"); err != nil {
		return err
	}
	addrs := append(append([]netip.Addr{}, p.ProxyAddrs...), p.ClientAddrs...)
	if err := setUp(inside, p.link, addrs...); err != nil {
		return err
	}
	return p.route(inside, outside, name)
}

func setUp(h *netlink.Handle, name string, addrs ...netip.Addr) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("start interface %s: %w", name, err)
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(podPrefix(a)), Flags: unix.IFA_F_NODAD}
		addr.IP = a.AsSlice()
		if err := h.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, name, err)
		}
	}
	return nil
}

// route gives the pod its default routes. The way back stands in the local
// table, where the routes of the Internet are, because it must win over them.
func (p *Pod) route(inside, outside *netlink.Handle, name string) error {
	in, err := inside.LinkByName(p.link)
	if err != nil {
		return fmt.Errorf("find the pod's interface: %w", err)
	}
	out, err := outside.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	for i, gateway := range p.gateways() {
		back := &netlink.Route{LinkIndex: out.Attrs().Index, Dst: ipNet(podPrefix(gateway).Masked()), Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_LINK}
		if err := outside.RouteReplace(back); err != nil {
			return fmt.Errorf("route to the pod: %w", err)
		}
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if gateway.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		way := &netlink.Route{LinkIndex: in.Attrs().Index, Dst: ipNet(all), Gw: gateway.AsSlice(), Src: p.ProxyAddrs[i].AsSlice()}
		if err := inside.RouteReplace(way); err != nil {
			return fmt.Errorf("default route of the pod: %w", err)
		}
	}
	return nil
}

// mount lays out the pod's volumes and shows them at their real paths.
func (p *Pod) mount() error {
	for _, dir := range []string{"", "config", "config/tls", "tls", "run"} {
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o755); err != nil {
			return fmt.Errorf("lay out volumes: %w", err)
		}
	}
	if hasUIDs() {
		if err := os.Chown(filepath.Join(p.dir, "run"), ProxyUID, ProxyUID); err != nil {
			return fmt.Errorf("give the proxy its directory: %w", err)
		}
	}
	if err := os.Chmod(filepath.Join(p.dir, "run"), 0o700); err != nil {
		return fmt.Errorf("close the proxy's directory: %w", err)
	}
	resolv := filepath.Join(p.dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte(p.lab.resolvConf()), 0o644); err != nil {
		return fmt.Errorf("write resolv.conf: %w", err)
	}
	return p.thread.do(func() error {
		return errors.Join(
			bind(filepath.Join(p.dir, "config"), ConfigDir),
			bind(filepath.Join(p.dir, "tls"), TLSDir),
			bind(filepath.Join(p.dir, "run"), p.lab.opts.RunDir),
			replaceResolvConf(resolv))
	})
}

// replaceResolvConf mounts over the file that /etc/resolv.conf leads to.
func replaceResolvConf(from string) error {
	const path = "/etc/resolv.conf"
	target, err := filepath.EvalSymlinks(path)
	if err != nil && os.IsNotExist(err) {
		target, err = path, nil
		_ = os.Remove(path) // a symlink that leads nowhere
	}
	if err != nil {
		return fmt.Errorf("find resolv.conf: %w", err)
	}
	return bind(from, target)
}

// Capture programs the packet filter for a policy's default action. New pods
// start with Deny.
func (p *Pod) Capture(action capture.DefaultAction) error {
	if p.thread == nil {
		return errJoined
	}
	c := capture.Config{
		ProxyUID: ProxyUID, RedirectPort: p.RedirectPort, AdminPort: p.AdminPort,
		Resolvers: p.lab.Resolvers(), Default: action, Closed: p.lab.opts.Closed,
	}
	if !hasUIDs() {
		for _, a := range p.ClientAddrs {
			c.CaptureSources = append(c.CaptureSources, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	rules, err := capture.Rules(c)
	if err != nil {
		return err
	}
	conn, err := nftables.New(nftables.WithNetNSFd(int(p.ns.file.Fd())))
	if err != nil {
		return fmt.Errorf("open nftables in the pod: %w", err)
	}
	if err := capture.Apply(conn, rules); err != nil {
		return err
	}
	return p.ns.do(func() error { quickReuse(); return nil })
}

// Listening returns the TCP ports on which something listens in the pod, by
// address, as the kernel lists them.
func (p *Pod) Listening() ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	err := p.ns.do(func() error {
		for _, table := range []string{"tcp", "tcp6"} {
			data, err := os.ReadFile("/proc/thread-self/net/" + table)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(data)) {
				if a, ok := parseListener(line); ok {
					out = append(out, a)
				}
			}
		}
		return nil
	})
	return out, err
}
