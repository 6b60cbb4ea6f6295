package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// joinedLink is the pod's interface to the Internet. No network plugin uses
// the name.
const joinedLink = "netproxylab"

func (l *Lab) join(ctx context.Context, o JoinOptions) error {
	file := os.NewFile(podFile, "pod")
	p := &Pod{lab: l, ns: netNS{file: file, home: l.home}, link: joinedLink, RedirectPort: o.RedirectPort, AdminPort: o.AdminPort}
	had, err := p.isolate()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.Pods = []*Pod{p}
	if !had.v4 {
		return errors.New("the pod has no IPv4 address: the lab cannot test pods that have IPv6 alone")
	}
	l.IPv6 = had.v6 && kernelHasIPv6()
	if l.resolvers, err = usable(o.Resolvers, l.families()); err != nil {
		return err
	}
	if err := l.serve(ctx, o.Authority); err != nil {
		return err
	}
	p.address(joinedNet4, joinedNet6)
	return p.connect()
}

// usable are the resolvers that the pod can ask. Others stand in resolv.conf
// where a cluster's family is not the pod's.
func usable(resolvers []netip.Addr, families []Family) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, r := range resolvers {
		if r.IsLoopback() || r.Zone() != "" {
			return nil, fmt.Errorf("the pod's resolver %s is one that the lab cannot stand in for", r)
		}
		if slices.Contains(families, familyOf(r)) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the pod has no resolver that it can ask")
	}
	return out, nil
}

// families are those in which a pod has addresses.
type families struct{ v4, v6 bool }

// isolate takes all interfaces of the pod down, loopback excepted, and makes
// sure that they are. It returns what families they had addresses of.
func (p *Pod) isolate() (families, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(int(p.ns.file.Fd())))
	if err != nil {
		return families{}, fmt.Errorf("open netlink in the pod: %w", err)
	}
	defer h.Close()
	had, err := familiesOf(h)
	if err != nil {
		return had, err
	}
	links, err := waysOut(h)
	if err != nil {
		return had, err
	}
	for _, link := range links {
		if err := h.LinkSetDown(link); err != nil {
			return had, fmt.Errorf("take the pod's interface %s down: %w", link.Attrs().Name, err)
		}
	}
	if links, err = waysOut(h); err != nil {
		return had, err
	}
	if len(links) > 0 {
		return had, fmt.Errorf("the pod's interface %s was taken down, and is up", links[0].Attrs().Name)
	}
	return had, nil
}

// waysOut are the interfaces that are up, loopback excepted.
func waysOut(h *netlink.Handle) ([]netlink.Link, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool {
		return l.Attrs().Flags&net.FlagUp == 0 || l.Attrs().Flags&net.FlagLoopback != 0
	}), nil
}

func familiesOf(h *netlink.Handle) (families, error) {
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return families{}, fmt.Errorf("list the pod's addresses: %w", err)
	}
	var had families
	for _, a := range addrs {
		addr, _ := netip.AddrFromSlice(a.IP)
		addr = addr.Unmap()
		if addr.IsLoopback() || addr.IsLinkLocalUnicast() {
			continue
		}
		had.v4, had.v6 = had.v4 || addr.Is4(), had.v6 || addr.Is6()
	}
	return had, nil
}
