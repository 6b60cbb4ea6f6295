package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Field is one header line; order and case are kept.
type Field struct{ Name, Value string }

// Result is what a client got for one request.
type Result struct {
	Outcome Outcome     `json:"outcome"`
	Status  int         `json:"status,omitempty"`
	Proto   string      `json:"proto,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"-"`
	Peer    *Peer       `json:"peer,omitempty"`
	// TLSVersion and ALPN are what was negotiated.
	TLSVersion uint16 `json:"tlsVersion,omitempty"`
	ALPN       string `json:"alpn,omitempty"`
	// Token is the unique text that the request carried.
	Token string `json:"token,omitempty"`
	// Upstream is the request (or the connection, if it was not HTTP) that the
	// Internet saw, nil if it saw none.
	Upstream *Entry `json:"upstream,omitempty"`
	Err      error  `json:"-"`
}

// ClosedWithoutByte reports whether the connection ended before one byte of an
// answer: for TLS, before the server's first flight.
func (r Result) ClosedWithoutByte() bool {
	return r.Outcome == Closed || r.Outcome == Reset
}

// Success reports a status of 2xx, or 101.
func (r Result) Success() bool {
	return r.Status/100 == 2 || r.Status == http.StatusSwitchingProtocols
}

// String is short enough for a table.
func (r Result) String() string {
	if r.Status != 0 {
		return fmt.Sprint(r.Status)
	}
	return string(r.Outcome)
}

// HTTP1Client speaks HTTP/1 byte by byte on an open session.
type HTTP1Client struct {
	s *Session
	r *bufio.Reader
}

// HTTP1 starts a raw HTTP/1 client.
func (s *Session) HTTP1() *HTTP1Client {
	return &HTTP1Client{s: s, r: bufio.NewReader(s)}
}

// Send writes raw and reads the answer to a request with that method. An
// answer of 101 or to CONNECT has no body; see [HTTP1Client.Read].
func (c *HTTP1Client) Send(method string, raw []byte) Result {
	_, writeErr := c.s.Write(raw)
	res := c.Receive(method)
	if writeErr != nil && res.Status == 0 && res.Err == nil {
		res.Err = writeErr
	}
	return res
}

// Receive reads one more answer.
func (c *HTTP1Client) Receive(method string) Result {
	out := Result{Peer: c.s.Peer, TLSVersion: c.s.Version, ALPN: c.s.ALPN}
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(c.r, &http.Request{Method: method})
	}
	if err != nil {
		out.Outcome, out.Err = classify(err), err
		return out
	}
	out.Outcome, out.Status, out.Proto, out.Header = Answered, res.StatusCode, res.Proto, res.Header
	if res.StatusCode == http.StatusSwitchingProtocols || method == http.MethodConnect && res.StatusCode == http.StatusOK {
		return out
	}
	defer func() { _ = res.Body.Close() }()
	out.Body, out.Err = io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return out
}

// Read and Write go to the stream behind an upgrade or a CONNECT.
func (c *HTTP1Client) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *HTTP1Client) Write(p []byte) (int, error) { return c.s.Write(p) }

// HTTP1Request builds a request, without any check. A body adds Content-Length.
func HTTP1Request(method, target, version string, body []byte, fields ...Field) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", method, target, version)
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// WebSocketFields are the header lines that ask for a WebSocket (RFC 6455).
func WebSocketFields(host string) []Field {
	return []Field{
		{"Host", host}, {"Connection", "Upgrade"}, {"Upgrade", "websocket"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "bmV0cHJveHkgbGFiIGtleQ=="},
		{"Origin", "https://" + strings.Trim(host, ".")},
	}
}

// WebSocketFrame is one masked text frame of at most 125 bytes.
func WebSocketFrame(text string) []byte {
	out := []byte{0x81, 0x80 | byte(min(len(text), 125)), 1, 2, 3, 4}
	for i := range min(len(text), 125) {
		out = append(out, text[i]^byte(1+i%4))
	}
	return out
}
