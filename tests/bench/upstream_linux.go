package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/netproxy/netproxy/mitm"
)

// Paths of the upstream.
const (
	answerPath = "/v1/answer" // a kilobyte
	echoPath   = "/v1/echo"   // the request's Authorization
)

// servers are what the proxies speak to: HTTPS on upstreamAddress with HTTP/2 and HTTP/1.1, and DNS.
type servers struct {
	web net.Listener
	dns *dns.Server
}

func startServers(n *network, identity tls.Certificate) (*servers, error) {
	var web net.Listener
	var names net.PacketConn
	err := n.listening(func() error {
		var one, two error
		web, one = net.Listen("tcp", net.JoinHostPort(upstreamAddress, "443"))
		names, two = net.ListenPacket("udp", net.JoinHostPort(resolverAddress, "53"))
		return errors.Join(one, two)
	})
	if err != nil {
		return nil, fmt.Errorf("listen in the Internet: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{identity}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	s := &servers{web: tls.NewListener(web, config), dns: &dns.Server{PacketConn: names, Handler: dns.HandlerFunc(resolve)}}
	go s.accept()
	go func() { _ = s.dns.ActivateAndServe() }()
	return s, nil
}

func (s *servers) stop() {
	_ = s.web.Close()
	_ = s.dns.ShutdownContext(context.Background())
}

func (s *servers) accept() {
	for {
		conn, err := s.web.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			serve(conn.(*tls.Conn))
		}()
	}
}

// serve answers until the connection ends. It is leaner than net/http: clients and upstream share one core, and a proxy
// can only be measured if it is slower than they are.
func serve(conn *tls.Conn) {
	if conn.Handshake() != nil {
		return
	}
	in, out := bufio.NewReaderSize(conn, 1<<14), bufio.NewWriterSize(conn, 1<<14)
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		_ = newHTTP2Upstream(in, out).serve()
		return
	}
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body := answer(req.URL.Path, req.Header.Get("Authorization"))
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if out.Flush() != nil {
			return
		}
	}
}

func answer(path, authorization string) string {
	if path == echoPath {
		return authorization
	}
	return kilobyte
}

var kilobyte = strings.Repeat("0123456789abcdef", 64)

// resolve knows one name; every other name does not exist.
func resolve(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	switch {
	case len(q.Question) != 1 || !strings.EqualFold(q.Question[0].Name, upstreamName+"."):
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   netip.MustParseAddr(upstreamAddress).AsSlice(),
		}}
	}
	_ = w.WriteMsg(m)
}

// identities are the keys and certificates of a run: the upstream's CA, which the proxies trust beside the public roots,
// and the CA of the interception, which the clients trust.
type identities struct {
	interception *mitm.CA
	leafCert     []byte
	leafKey      []byte
	upstream     tls.Certificate
	trusted      []byte // PEM: public roots and the upstream's CA
}

func newIdentities(now time.Time) (*identities, error) {
	ca, err := mitm.Generate(rand.Reader, now, "interception")
	if err != nil {
		return nil, err
	}
	authority, err := mitm.Generate(rand.Reader, now, "upstream")
	if err != nil {
		return nil, err
	}
	id := &identities{interception: ca}
	if id.leafCert, id.leafKey, err = issue(ca, []string{upstreamName}, now); err != nil {
		return nil, err
	}
	cert, key, err := issue(authority, []string{upstreamName}, now)
	if err != nil {
		return nil, err
	}
	if id.upstream, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, err
	}
	additional, err := mitm.ParseAdditional(authority.CertificatePEM())
	if err != nil {
		return nil, err
	}
	bundle, err := mitm.UpstreamBundle(mitm.Roots(now), ca.Chain(), additional)
	id.trusted = bundle.PEM()
	return id, err
}

func issue(ca *mitm.CA, domains []string, now time.Time) (cert, key []byte, err error) {
	leaf, err := mitm.Issue(ca, domains, rand.Reader, now)
	if err != nil {
		return nil, nil, err
	}
	key, err = leaf.Key().RevealPEM()
	return leaf.CertificatePEM(), key, err
}
