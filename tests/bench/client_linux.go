package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// dial opens a TCP connection that ends at the upstream, whatever is between.
type dial func(context.Context) (net.Conn, error)

// session is one TLS connection that requests are made on, one after the other.
type session interface {
	get(path string) (status int, body []byte, err error)
	close()
}

// open makes a session.
type open func(context.Context, dial, *x509.CertPool) (session, error)

func handshake(ctx context.Context, d dial, trust *x509.CertPool, alpn string) (*tls.Conn, error) {
	raw, err := d(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: upstreamName, RootCAs: trust, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

type http1 struct {
	conn net.Conn
	in   *bufio.Reader
}

func openHTTP1(ctx context.Context, d dial, trust *x509.CertPool) (session, error) {
	conn, err := handshake(ctx, d, trust, "http/1.1")
	if err != nil {
		return nil, err
	}
	return &http1{conn, bufio.NewReader(conn)}, nil
}

func (s *http1) get(path string) (int, []byte, error) {
	if _, err := fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", path, upstreamName); err != nil {
		return 0, nil, err
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, errors.Join(err, res.Body.Close())
}

func (s *http1) close() { _ = s.conn.Close() }

type httpTwo struct {
	conn   net.Conn
	client *http2.ClientConn //nolint:staticcheck // its successor dials itself; the benchmark shakes hands
}

func openHTTP2(ctx context.Context, d dial, trust *x509.CertPool) (session, error) {
	conn, err := handshake(ctx, d, trust, "h2")
	if err != nil {
		return nil, err
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		return nil, errors.Join(fmt.Errorf("HTTP/2 was not negotiated, but %q", p), conn.Close())
	}
	client, err := new(http2.Transport).NewClientConn(conn) //nolint:staticcheck // as above
	return &httpTwo{conn, client}, err
}

func (s *httpTwo) get(path string) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+upstreamName+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "bench")
	res, err := s.client.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, errors.Join(err, res.Body.Close())
}

func (s *httpTwo) close() { _ = s.conn.Close() }

// fetch makes a request that must be answered with the upstream's kilobyte, and tells how long it took.
func fetch(s session) (time.Duration, error) {
	began := time.Now()
	status, body, err := s.get(answerPath)
	took := time.Since(began)
	if err == nil && (status != http.StatusOK || len(body) != len(kilobyte)) {
		err = fmt.Errorf("answered with status %d and %d bytes: %.200s", status, len(body), body)
	}
	return took, err
}
