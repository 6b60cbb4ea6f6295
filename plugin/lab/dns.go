package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// ttl of the answers, in seconds: short, so that a test that changes a name
// does not wait.
const ttl = 5

// nameServer answers DNS on every address of the Internet: what is asked of a
// resolver that is not the pod's own is recorded as well.
type nameServer struct {
	world  *World
	ledger *Ledger
	close4 func() error
	close6 func() error
	tcp    []*dns.Server
}

func startDNS(ctx context.Context, w *World, l *Ledger, resolvers []netip.Addr) (*nameServer, error) {
	s := &nameServer{world: w, ledger: l}
	if err := s.listenUDP(ctx); err != nil {
		return nil, err
	}
	for _, r := range resolvers {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(r, 53).String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for DNS over TCP: %w", err), s.close())
		}
		server := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(s.serveTCP)}
		s.tcp = append(s.tcp, server)
		go func() { _ = server.ActivateAndServe() }()
	}
	return s, nil
}

// listenUDP opens one socket per family. Control messages tell which address
// was asked, so that the answer comes from there.
func (s *nameServer) listenUDP(ctx context.Context) error {
	var lc net.ListenConfig
	c4, err := lc.ListenPacket(ctx, "udp4", ":53")
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	p4 := ipv4.NewPacketConn(c4)
	s.close4 = c4.Close
	if err := p4.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return errors.Join(fmt.Errorf("ask for the DNS server's address: %w", err), c4.Close())
	}
	go s.serve4(p4)
	c6, err := lc.ListenPacket(ctx, "udp6", ":53")
	if err != nil {
		return nil // a kernel without IPv6
	}
	p6 := ipv6.NewPacketConn(c6)
	s.close6 = c6.Close
	if err := p6.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return errors.Join(fmt.Errorf("ask for the DNS server's address: %w", err), c6.Close())
	}
	go s.serve6(p6)
	return nil
}

func (s *nameServer) serve4(c *ipv4.PacketConn) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, cm, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil {
			continue
		}
		if reply := s.reply(buf[:n], "udp", from, cm.Dst); reply != nil {
			_, _ = c.WriteTo(reply, &ipv4.ControlMessage{Src: cm.Dst}, from)
		}
	}
}

func (s *nameServer) serve6(c *ipv6.PacketConn) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, cm, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil {
			continue
		}
		if reply := s.reply(buf[:n], "udp", from, cm.Dst); reply != nil {
			_, _ = c.WriteTo(reply, &ipv6.ControlMessage{Src: cm.Dst}, from)
		}
	}
}

func (s *nameServer) reply(packet []byte, proto string, from net.Addr, to net.IP) []byte {
	var q dns.Msg
	if err := q.Unpack(packet); err != nil || q.Response {
		return nil
	}
	addr, _ := netip.AddrFromSlice(to)
	out, err := s.answer(&q, proto, from, netip.AddrPortFrom(addr.Unmap(), 53)).Pack()
	if err != nil {
		return nil
	}
	return out
}

func (s *nameServer) serveTCP(w dns.ResponseWriter, q *dns.Msg) {
	to, _ := netip.ParseAddrPort(w.LocalAddr().String())
	_ = w.WriteMsg(s.answer(q, "tcp", w.RemoteAddr(), plain(to)))
}

// answer records the questions and answers the first one, as all servers do.
func (s *nameServer) answer(q *dns.Msg, proto string, from net.Addr, to netip.AddrPort) *dns.Msg {
	source, _ := netip.ParseAddrPort(from.String())
	for _, question := range q.Question {
		s.ledger.add(Entry{
			Kind: DNSQuery, Proto: proto, From: plain(source), To: to,
			Query: canonical(question.Name), QueryType: dns.TypeToString[question.Qtype],
		})
	}
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(q.Question) == 0 {
		return m.SetRcode(q, dns.RcodeFormatError)
	}
	if s.world.fails() {
		return m.SetRcode(q, dns.RcodeServerFailure)
	}
	addrs, known := s.world.Lookup(q.Question[0].Name)
	if !known {
		return m.SetRcode(q, dns.RcodeNameError)
	}
	for _, a := range addrs {
		if rr := record(q.Question[0], a); rr != nil {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func record(q dns.Question, a netip.Addr) dns.RR {
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
	switch {
	case q.Qtype == dns.TypeA && a.Is4():
		return &dns.A{Hdr: header, A: a.AsSlice()}
	case q.Qtype == dns.TypeAAAA && a.Is6():
		return &dns.AAAA{Hdr: header, AAAA: a.AsSlice()}
	}
	return nil
}

func (s *nameServer) close() error {
	var errs []error
	for _, c := range []func() error{s.close4, s.close6} {
		if c != nil {
			errs = append(errs, c())
		}
	}
	for _, t := range s.tcp {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = t.ShutdownContext(ctx) // fails only when it has not started yet
		errs = append(errs, ignoreClosed(t.Listener.Close()))
		cancel()
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
