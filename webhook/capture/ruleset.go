package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Protocol numbers and address families (IANA; NFPROTO_* of the kernel).
const (
	TCP  = 6
	UDP  = 17
	IPv4 = 2
	IPv6 = 10
)

// TableFamily is the protocol family of a table.
type TableFamily string

// Families: both protocols in one table, or IPv4 alone for kernels without IPv6, which have no `inet` tables.
const (
	Inet   TableFamily = "inet"
	OnlyV4 TableFamily = "ip"
)

// Ruleset is one table of the packet filter.
type Ruleset struct {
	Family TableFamily
	Table  string
	Chains []Chain
}

// ForIPv4 is the ruleset without what only IPv6 needs.
func (r Ruleset) ForIPv4() Ruleset {
	out := Ruleset{Family: OnlyV4, Table: r.Table}
	for _, c := range r.Chains {
		c.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(rule Rule) bool { return slices.ContainsFunc(rule.Matches, Match.onlyV6) })
		out.Chains = append(out.Chains, c)
	}
	return out
}

func (m Match) onlyV6() bool {
	return m.Key == ICMPv6Type || m.Key == Family && m.Num == IPv6 ||
		(m.Key == Source || m.Key == Destination) && m.Prefix.Addr().Is6()
}

// ChainType is the type of a base chain.
type ChainType string

// Hook is the place of a base chain in the network stack.
type Hook string

// Chain types and hooks that are used here.
const (
	NAT    ChainType = "nat"
	Filter ChainType = "filter"
	Output Hook      = "output"
	Input  Hook      = "input"
)

// Chain is a base chain. Policy is Accept or Drop.
type Chain struct {
	Name     string
	Type     ChainType
	Hook     Hook
	Priority int32
	Policy   VerdictKind
	Rules    []Rule
}

// Rule applies Verdict to a packet that fulfils all Matches.
type Rule struct {
	Matches []Match
	Verdict Verdict
	Comment string
}

// Key says which property of a packet a Match looks at.
type Key int

// Keys. The comment names the field of Match that belongs to the key.
const (
	SocketUID       Key = iota + 1 // Num: UID of the socket that sends
	OutLoopback                    // -: leaves through the loopback interface
	Protocol                       // Num: TCP or UDP
	Family                         // Num: IPv4 or IPv6
	Source                         // Prefix
	Destination                    // Prefix
	DestinationPort                // Num: TCP or UDP, Port
	ICMPv6Type                     // Num
	Reply                          // -: answers a connection that somebody else opened
	Established                    // -: both sides of the connection have been seen
	Redirected                     // -: the destination was changed by the redirect chain
)

// Match is one condition.
type Match struct {
	Key    Key
	Negate bool
	Num    uint32
	Port   uint16
	Prefix netip.Prefix
}

// VerdictKind is what happens to a packet.
type VerdictKind string

// Verdicts. Reset and Prohibit tell the sender, so that it does not wait.
const (
	Accept   VerdictKind = "accept"
	Drop     VerdictKind = "drop"
	Reset    VerdictKind = "reject with tcp reset"
	Prohibit VerdictKind = "reject with icmpx admin-prohibited" // ICMP in tables of IPv4 alone
	Redirect VerdictKind = "redirect"
)

// Verdict is a kind and, for Redirect, the port.
type Verdict struct {
	Kind VerdictKind
	Port uint16
}

// String prints the table in the syntax of nft(8).
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", r.Family, r.Table)
	for _, c := range r.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy %s;\n", c.Name, c.Type, c.Hook, c.Priority, c.Policy)
		for _, rule := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// String prints the rule in the syntax of nft(8).
func (r Rule) String() string {
	parts := make([]string, 0, len(r.Matches)+2)
	for _, m := range r.Matches {
		parts = append(parts, m.String())
	}
	verdict := string(r.Verdict.Kind)
	if r.Verdict.Kind == Redirect {
		verdict = fmt.Sprintf("redirect to :%d", r.Verdict.Port)
	}
	return strings.Join(append(parts, verdict, fmt.Sprintf("comment %q", r.Comment)), " ")
}

// String prints the condition in the syntax of nft(8).
func (m Match) String() string {
	op := ""
	if m.Negate {
		op = "!= "
	}
	switch m.Key {
	case SocketUID:
		return fmt.Sprintf("meta skuid %s%d", op, m.Num)
	case OutLoopback:
		return "oifname " + op + `"lo"`
	case Protocol:
		return "meta l4proto " + op + protocolName(m.Num)
	case Family:
		return "meta nfproto " + op + map[uint32]string{IPv4: "ipv4", IPv6: "ipv6"}[m.Num]
	case Source:
		return family(m.Prefix) + " saddr " + op + prefixText(m.Prefix)
	case Destination:
		return family(m.Prefix) + " daddr " + op + prefixText(m.Prefix)
	case DestinationPort:
		return fmt.Sprintf("%s dport %s%d", protocolName(m.Num), op, m.Port)
	case ICMPv6Type:
		return fmt.Sprintf("icmpv6 type %s%d", op, m.Num)
	case Reply:
		return "ct direction " + op + "reply"
	case Established:
		return "ct state " + op + "established"
	case Redirected:
		return "ct status " + op + "dnat"
	}
	return fmt.Sprintf("unknown match %d", m.Key)
}

func protocolName(n uint32) string {
	return map[uint32]string{TCP: "tcp", UDP: "udp"}[n]
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}
