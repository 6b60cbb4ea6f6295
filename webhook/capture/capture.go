// Package capture describes and programs the packet filter of a pod that is
// under egress control: every TCP connection is redirected to the proxy, and
// what cannot be redirected is closed.
//
// [Rules] is pure: it returns a description that prints in the syntax of
// nft(8). [Apply] programs that description over netlink, so that no nft or
// iptables binary is needed in the init container's image.
package capture

import (
	"errors"
	"fmt"
	"net/netip"
)

// Table is the name of the one `inet` table that netproxy owns in a pod.
const Table = "netproxy"

// DefaultAction says what happens to traffic that no proxy can judge, that is
// everything but TCP.
type DefaultAction int

const (
	// Deny closes everything that is not redirected, DNS to the resolvers excepted.
	Deny DefaultAction = iota
	// Allow closes only what would go around the proxy: QUIC (UDP 443) and the
	// destinations in Config.Closed.
	Allow
)

// Config is what the rules of one pod depend on.
type Config struct {
	// ProxyUID owns the proxy's sockets: they are never captured. 0 (root) is
	// refused unless CaptureSources is set.
	ProxyUID uint32
	// RedirectPort is the port on 127.0.0.1 and ::1 that takes redirected
	// connections, and nothing else.
	RedirectPort uint16
	// AdminPort is the read-only status port. It stays reachable from outside
	// of the pod (kubelet, Prometheus) and is closed for the pod itself.
	AdminPort uint16
	// Resolvers are the pod's DNS servers, from its resolv.conf.
	Resolvers []netip.Addr
	// Default is the policy's defaultAction.
	Default DefaultAction
	// Closed are destinations that stay closed to UDP and other protocols
	// under Allow as well: link-local and metadata addresses.
	Closed []netip.Prefix
	// CaptureSources, when not empty, replaces the rule about ProxyUID:
	// captured is what leaves from one of these addresses. It is meant for user
	// namespaces in which only one UID exists.
	CaptureSources []netip.Prefix
}

func (c Config) validate() error {
	switch {
	case c.RedirectPort == 0 || c.AdminPort == 0:
		return errors.New("capture: redirect port and admin port must not be 0")
	case c.RedirectPort == c.AdminPort:
		return fmt.Errorf("capture: redirect port and admin port are both %d", c.AdminPort)
	case c.ProxyUID == 0 && len(c.CaptureSources) == 0:
		return errors.New("capture: proxy UID 0 would exempt every process that runs as root")
	}
	for _, a := range c.Resolvers {
		if !a.IsValid() || a.Zone() != "" {
			return fmt.Errorf("capture: resolver %q is not an address without zone", a)
		}
	}
	for _, p := range append(append([]netip.Prefix{}, c.Closed...), c.CaptureSources...) {
		if !p.IsValid() {
			return errors.New("capture: invalid prefix")
		}
	}
	return nil
}

// Rules returns the rules for c. Equal input gives equal output.
func Rules(c Config) (Ruleset, error) {
	if err := c.validate(); err != nil {
		return Ruleset{}, err
	}
	return Ruleset{Family: Inet, Table: Table, Chains: []Chain{c.redirect(), c.output(), c.input()}}, nil
}

// redirect is the NAT chain: it sees the first packet of a connection only.
func (c Config) redirect() Chain {
	rules := c.exempt()
	rules = append(rules, rule(Accept, "inside the pod", Match{Key: OutLoopback}))
	for _, a := range c.Resolvers {
		rules = append(rules, rule(Accept, "DNS over TCP", dst(a), port(TCP, 53)))
	}
	rules = append(rules, Rule{
		Matches: []Match{{Key: Protocol, Num: TCP}},
		Verdict: Verdict{Kind: Redirect, Port: c.RedirectPort},
		Comment: "to the proxy",
	})
	return Chain{Name: "redirect", Type: NAT, Hook: Output, Priority: -100, Policy: Accept, Rules: rules}
}

// output decides about every packet, after redirect has changed its
// destination. The interface is still the one chosen before the redirect.
func (c Config) output() Chain {
	rules := c.exempt()
	rules = append(rules,
		// What the proxy sent before it closed a socket leaves after that, and
		// a closed socket has no UID: without this rule those bytes are lost.
		rule(Accept, "accepted when it began", Match{Key: Protocol, Num: TCP}, Match{Key: Established}),
		rule(Accept, "replies", Match{Key: Reply}),
		rule(Accept, "redirected connections", Match{Key: Redirected}, port(TCP, c.RedirectPort)),
		rule(Reset, "redirect port", Match{Key: OutLoopback}, port(TCP, c.RedirectPort)),
		rule(Reset, "status port", Match{Key: OutLoopback}, port(TCP, c.AdminPort)),
		rule(Accept, "inside the pod", Match{Key: OutLoopback}),
	)
	rules = append(rules, neighbourDiscovery()...)
	for _, a := range c.Resolvers {
		rules = append(rules,
			rule(Accept, "DNS", dst(a), port(UDP, 53)),
			rule(Accept, "DNS over TCP", dst(a), port(TCP, 53)))
	}
	rules = append(rules, rule(Reset, "not redirected", Match{Key: Protocol, Num: TCP}))
	chain := Chain{Name: "output", Type: Filter, Hook: Output, Priority: 0, Policy: Drop}
	if c.Default == Allow {
		chain.Policy = Accept
		for _, p := range c.Closed {
			rules = append(rules, rule(Prohibit, "closed in every case", Match{Key: Destination, Prefix: p}))
		}
		rules = append(rules, rule(Prohibit, "QUIC", port(UDP, 443)))
	} else {
		rules = append(rules, rule(Prohibit, "everything else"))
	}
	chain.Rules = rules
	return chain
}

// input closes the redirect port for whoever did not come through the
// redirect, other hosts included.
func (c Config) input() Chain {
	return Chain{Name: "input", Type: Filter, Hook: Input, Priority: 0, Policy: Accept, Rules: []Rule{
		rule(Accept, "redirected connections", Match{Key: Redirected}, port(TCP, c.RedirectPort)),
		rule(Reset, "redirect port", port(TCP, c.RedirectPort)),
	}}
}

// exempt lets the proxy itself out.
func (c Config) exempt() []Rule {
	if len(c.CaptureSources) == 0 {
		return []Rule{rule(Accept, "the proxy", Match{Key: SocketUID, Num: c.ProxyUID})}
	}
	var v4, v6 []Match
	for _, p := range c.CaptureSources {
		m := Match{Key: Source, Prefix: p, Negate: true}
		if p.Addr().Is4() {
			v4 = append(v4, m)
		} else {
			v6 = append(v6, m)
		}
	}
	outside := Match{Key: OutLoopback, Negate: true}
	v4 = append([]Match{{Key: Family, Num: IPv4}, outside}, v4...)
	v6 = append([]Match{{Key: Family, Num: IPv6}, outside}, v6...)
	return []Rule{rule(Accept, "not the workload", v4...), rule(Accept, "not the workload", v6...)}
}

// neighbourDiscovery is what IPv6 cannot live without (RFC 4861, RFC 3810).
// A process needs NET_RAW to send these itself.
func neighbourDiscovery() []Rule {
	kinds := []struct {
		icmp uint32
		what string
	}{
		{133, "router solicitation"}, {135, "neighbour solicitation"},
		{136, "neighbour advertisement"}, {143, "multicast listener report"},
	}
	rules := make([]Rule, 0, len(kinds))
	for _, k := range kinds {
		rules = append(rules, rule(Accept, k.what, Match{Key: ICMPv6Type, Num: k.icmp}))
	}
	return rules
}

func rule(kind VerdictKind, comment string, matches ...Match) Rule {
	return Rule{Matches: matches, Verdict: Verdict{Kind: kind}, Comment: comment}
}

func dst(a netip.Addr) Match {
	a = a.Unmap()
	return Match{Key: Destination, Prefix: netip.PrefixFrom(a, a.BitLen())}
}

func port(proto uint32, p uint16) Match {
	return Match{Key: DestinationPort, Num: proto, Port: p}
}
