package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
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
	http *http.Server
	dns  *dns.Server
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
	s := &servers{
		http: &http.Server{
			Handler: http.HandlerFunc(answer), TLSConfig: &tls.Config{Certificates: []tls.Certificate{identity}},
			ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		},
		dns: &dns.Server{PacketConn: names, Handler: dns.HandlerFunc(resolve)},
	}
	go func() { _ = s.http.ServeTLS(web, "", "") }()
	go func() { _ = s.dns.ActivateAndServe() }()
	return s, nil
}

func (s *servers) stop() {
	_ = s.http.Close()
	_ = s.dns.ShutdownContext(context.Background())
}

func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	if r.URL.Path == echoPath {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		return
	}
	_, _ = io.WriteString(w, kilobyte)
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
