package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Ports on which the upstream speaks first.
var banners = map[uint16]string{
	22:   "SSH-2.0-lab\r\n",
	25:   "220 lab ESMTP\r\n",
	3306: "J\x00\x00\x00\x0a8.0.0-lab\x00",
}

// RawGreeting is what the upstream answers, before it echoes, to what is
// neither TLS nor HTTP.
const RawGreeting = "lab raw\n"

const (
	peekSize = 512
	idleTime = 90 * time.Second
)

var requestLine = regexp.MustCompile(`^(PRI \* HTTP|[A-Za-z-]{1,20} (/|\*|[hH][tT][tT][pP]|[^ ]+ HTTP/))`)

// upstream is the one server behind all addresses and ports of the Internet.
type upstream struct {
	world    *World
	ledger   *Ledger
	listener net.Listener
	accepted chan net.Conn
	http     *http.Server
	done     chan struct{}
	once     sync.Once
}

// startUpstream listens and has every connection of the Internet led to itself.
func startUpstream(ctx context.Context, w *World, l *Ledger, resolvers []netip.Addr) (*upstream, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // the original destination is a question for plain TCP
	ln, err := lc.Listen(ctx, "tcp", ":0")
	if err != nil {
		return nil, fmt.Errorf("listen as the Internet: %w", err)
	}
	u := &upstream{world: w, ledger: l, listener: ln, accepted: make(chan net.Conn), done: make(chan struct{})}
	u.http = u.newHTTP()
	if err := divert(ln.Addr().(*net.TCPAddr).AddrPort().Port(), resolvers); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	go u.accept()
	go func() { _ = u.http.Serve(handedOver{u}) }()
	return u, nil
}

func (u *upstream) accept() {
	for {
		c, err := u.listener.Accept()
		if err != nil {
			return
		}
		go u.serve(c)
	}
}

func (u *upstream) close() error {
	u.once.Do(func() { close(u.done) })
	return errors.Join(u.listener.Close(), u.http.Close())
}

// serve finds out what a connection speaks.
func (u *upstream) serve(c net.Conn) {
	to, err := originalDestination(c)
	if err != nil {
		_ = c.Close()
		return
	}
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	entry := u.ledger.add(Entry{Kind: Connection, Proto: "tcp", To: to, From: plain(from)})
	seen := &seenConn{Conn: c, reader: bufio.NewReaderSize(c, peekSize), entry: entry, ledger: u.ledger}
	_ = c.SetReadDeadline(time.Now().Add(idleTime))
	if banner, ok := banners[to.Port()]; ok {
		u.echo(seen, banner)
		return
	}
	first, err := seen.reader.Peek(1)
	switch {
	case err != nil:
		_ = c.Close()
	case first[0] == recordHandshake:
		u.serveTLS(seen)
	default:
		u.servePlain(seen)
	}
}

// servePlain hands HTTP to the HTTP server and echoes everything else.
func (u *upstream) servePlain(c *seenConn) {
	c.record = true
	if _, err := c.reader.Peek(1); err != nil {
		_ = c.Close()
		return
	}
	first, _ := c.reader.Peek(min(c.reader.Buffered(), 64))
	if requestLine.Match(first) {
		_ = c.SetReadDeadline(time.Time{})
		u.handOver(c)
		return
	}
	u.echo(c, RawGreeting)
}

// serveTLS shows the certificate of the address. It takes every protocol that
// a client offers: without a common one it goes on without ALPN.
func (u *upstream) serveTLS(c *seenConn) {
	// Encrypted hellos are opened before the callback, with the outer keys.
	conn := tls.Server(c, &tls.Config{EncryptedClientHelloKeys: u.world.echKeys(), GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		u.ledger.change(func() {
			c.entry.TLS, c.entry.SNI, c.entry.ALPN = true, hello.ServerName, slices.Clone(hello.SupportedProtos)
		})
		return u.configFor(c.entry.To.Addr(), hello.SupportedProtos)
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return
	}
	state := conn.ConnectionState()
	u.ledger.change(func() { c.entry.Handshake, c.entry.TLSVersion = true, state.Version })
	if state.NegotiatedProtocol == "h2" {
		_ = c.SetReadDeadline(time.Time{})
		u.handOver(conn)
		return
	}
	u.servePlain(&seenConn{Conn: conn, reader: bufio.NewReaderSize(conn, peekSize), entry: c.entry, ledger: u.ledger})
}

func (u *upstream) configFor(addr netip.Addr, offered []string) (*tls.Config, error) {
	cert, err := u.world.ca.leaf(addr, u.world.Owners(addr))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12, EncryptedClientHelloKeys: u.world.echKeys()}
	for _, p := range []string{"h2", "http/1.1"} {
		if slices.Contains(offered, p) {
			config.NextProtos = append(config.NextProtos, p)
		}
	}
	return config, nil
}

// echo writes greeting and then whatever it reads.
func (u *upstream) echo(c *seenConn, greeting string) {
	defer func() { _ = c.Close() }()
	c.record = true
	if _, err := io.WriteString(c, greeting); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
}

func (u *upstream) handOver(c net.Conn) {
	select {
	case u.accepted <- c:
	case <-u.done:
		_ = c.Close()
	}
}

// handedOver is the HTTP server's listener.
type handedOver struct{ u *upstream }

func (h handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.u.accepted:
		return c, nil
	case <-h.u.done:
		return nil, net.ErrClosed
	}
}

func (h handedOver) Close() error   { return nil }
func (h handedOver) Addr() net.Addr { return h.u.listener.Addr() }

// seenConn is a connection whose beginning the ledger keeps.
type seenConn struct {
	net.Conn
	reader *bufio.Reader
	entry  *Entry
	ledger *Ledger
	record bool
}

func (c *seenConn) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	if c.record && n > 0 {
		c.ledger.change(func() {
			c.entry.Received += int64(n)
			if room := maxRaw - len(c.entry.Raw); room > 0 {
				c.entry.Raw = append(c.entry.Raw, p[:min(n, room)]...)
			}
		})
	}
	return n, err
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
