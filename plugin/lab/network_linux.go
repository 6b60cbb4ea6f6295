package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// served is every unicast range, so that a request to any address whatsoever
// is answered and recorded. More specific routes lead to the pods.
var served = []string{
	"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3",
	"2000::/3", "fc00::/7", "64:ff9b::/96",
}

// platform is the part of the lab that belongs to the operating system. The
// process's own network namespace is the Internet.
type platform struct{ home *os.File }

func newPlatform() (platform, error) {
	if !Inside() {
		return platform{}, errors.New("the lab was not entered: call lab.Enter, lab.EnterPod or lab.Main first")
	}
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return platform{}, fmt.Errorf("open the network namespace: %w", err)
	}
	return platform{home: home}, nil
}

func (p platform) close() error { return p.home.Close() }

func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// serveEverything makes all of the Internet local (AnyIP routes). IPv6 binds
// to real addresses only, so the resolvers get theirs.
func serveEverything(families []Family, resolvers []netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("start the loopback interface: %w", err)
	}
	for _, s := range served {
		p := netip.MustParsePrefix(s)
		if !slices.Contains(families, familyOf(p.Addr())) {
			continue
		}
		route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(p), Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("serve %s: %w", p, err)
		}
	}
	for _, r := range resolvers {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(r, r.BitLen())), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrReplace(lo, addr); err != nil {
			return fmt.Errorf("add the resolver's address %s: %w", r, err)
		}
	}
	return nil
}

// quickReuse lets ended connections leave the connection table after a second:
// thousands of short ones would otherwise collide in the redirected port.
// Where it cannot be set, only speed is lost.
func quickReuse() {
	for _, name := range []string{"time_wait", "close", "fin_wait", "last_ack"} {
		_ = os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_"+name, []byte("1"), 0o644)
	}
	// Lets the DNS server answer from addresses that only a route makes local.
	_ = os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0o644)
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("2048 65000"), 0o644)
}

// divert leads every TCP connection that arrives from a pod to port, the
// DNS server's excepted.
func divert(port uint16, resolvers []netip.Addr) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "internet"}
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Name: "divert", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	for _, r := range resolvers {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(toDNS(r), &expr.Verdict{Kind: expr.VerdictAccept})})
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("redirect the Internet's connections (nf_tables with NAT is needed): %w", err)
	}
	return nil
}

func toDNS(resolver netip.Addr) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(16)
	if resolver.Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	eq := func(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	addr := resolver.AsSlice()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, eq([]byte{family}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(addr))}, eq(addr),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, eq([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, eq(binaryutil.BigEndian.PutUint16(53)),
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
