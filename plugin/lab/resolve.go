package lab

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Resolve asks a DNS server from the pod's workload, over "udp" or "tcp", for
// the A and AAAA records of name.
func (p *Pod) Resolve(ctx context.Context, network string, server netip.AddrPort, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		answer, err := p.query(ctx, network, server, new(dns.Msg).SetQuestion(dns.Fqdn(name), kind))
		if err != nil {
			return nil, fmt.Errorf("resolve %s: %w", name, err)
		}
		for _, rr := range answer.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				a, _ := netip.AddrFromSlice(rr.A)
				out = append(out, a.Unmap())
			case *dns.AAAA:
				a, _ := netip.AddrFromSlice(rr.AAAA)
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func (p *Pod) query(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	c, err := p.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	client := dns.Client{Net: network}
	answer, _, err := client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: c})
	if err != nil {
		return nil, err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("the server says %s", dns.RcodeToString[answer.Rcode])
	}
	return answer, nil
}
