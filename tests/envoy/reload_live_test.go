package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// live is a connection that the workload holds open.
type live struct {
	name    string
	session *lab.Session
	// beat uses the connection once more.
	beat func() error
}

// kinds of live connections.
type liveKind string

const (
	keepAlive   liveKind = "keep-alive"
	keepAliveH2 liveKind = "HTTP/2 keep-alive"
	webSocket   liveKind = "WebSocket"
	eventStream liveKind = "event stream"
	streamH2    liveKind = "HTTP/2 event stream"
	rawLine     liveKind = "raw TCP"
)

// beatTimeout is how long one exchange may take on a busy machine.
const beatTimeout = 5 * time.Second

// hold opens a connection and uses it once.
func (p *proxy) hold(ctx context.Context, t *testing.T, kind liveKind, target string) *live {
	t.Helper()
	r := p.place(t, ask("GET", target))
	var opts *lab.TLSOptions
	if r.TLS {
		opts = &lab.TLSOptions{SNI: strings.TrimPrefix(r.SNI, "-"), ALPN: []string{"http/1.1"}}
		if kind == keepAliveH2 || kind == streamH2 {
			opts.ALPN = []string{"h2"}
		}
	}
	s, _, err := p.pod.Open(ctx, r.Dst, opts)
	if err != nil {
		t.Fatalf("%s to %s: %v", kind, target, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	out := &live{name: string(kind) + " to " + target, session: s}
	if err := out.begin(kind, r.Host); err != nil {
		t.Fatalf("%s: %v", out.name, err)
	}
	if err := out.use(); err != nil {
		t.Fatalf("%s does not work: %v", out.name, err)
	}
	return out
}

func (c *live) begin(kind liveKind, host string) error {
	switch kind {
	case keepAlive:
		client := c.session.HTTP1()
		c.beat = func() error {
			return wantOK(client.Send("GET", lab.HTTP1Request("GET", "/kept", "HTTP/1.1", nil, lab.Field{Name: "Host", Value: host})))
		}
	case keepAliveH2:
		client, err := c.session.HTTP2()
		c.beat = func() error { return wantOK(client.Send(nil, lab.HTTP2Fields("GET", "https", host, "/kept")...)) }
		return err
	case webSocket:
		return c.beginWebSocket(host)
	case eventStream:
		return c.beginStream(host)
	case streamH2:
		return c.beginStreamH2(host)
	case rawLine:
		c.beat = func() error { return echo(c.session, c.session, []byte("~still there?\n")) }
	}
	return nil
}

func wantOK(res lab.Result) error {
	if res.Status != 200 {
		return fmt.Errorf("got %s: %w", res, errors.Join(res.Err, errors.New(string(res.Body))))
	}
	return nil
}

func (c *live) beginWebSocket(host string) error {
	client := c.session.HTTP1()
	if res := client.Send("GET", lab.HTTP1Request("GET", "/ws", "HTTP/1.1", nil, lab.WebSocketFields(host)...)); res.Status != 101 {
		return fmt.Errorf("upgrade: %s, %w", res, res.Err)
	}
	c.beat = func() error {
		if _, err := client.Write(lab.WebSocketFrame("ping")); err != nil {
			return err
		}
		frame := make([]byte, len("..ping"))
		if _, err := io.ReadFull(client, frame); err != nil || string(frame[2:]) != "ping" {
			return fmt.Errorf("echo %q: %w", frame, err)
		}
		return nil
	}
	return nil
}

func (c *live) beginStream(host string) error {
	if _, err := c.session.Write(lab.HTTP1Request("GET", "/stream", "HTTP/1.1", nil, lab.Field{Name: "Host", Value: host})); err != nil {
		return err
	}
	c.beat = func() error { return readUntil(c.session, "data: ") }
	return readUntil(c.session, " 200 ")
}

func (c *live) beginStreamH2(host string) error {
	client, err := c.session.HTTP2()
	if err != nil {
		return err
	}
	if _, res := client.Connect(lab.HTTP2Fields("GET", "https", host, "/stream")...); res.Status != 200 {
		return fmt.Errorf("stream: %s, %w", res, res.Err)
	}
	c.beat = func() error { return readUntil(c.session, "data: ") }
	return nil
}

// readUntil finds text in what comes next.
func readUntil(r io.Reader, text string) error {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(text)) {
		n, err := r.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			return fmt.Errorf("waiting for %q after %q: %w", text, tail(got, 200), err)
		}
	}
	return nil
}

// echo writes a line and reads it back; the upstream greets before the first.
func echo(w io.Writer, r io.Reader, line []byte) error {
	if _, err := w.Write(line); err != nil {
		return err
	}
	return readUntil(r, string(line))
}

// use is one beat within its time.
func (c *live) use() error {
	if err := c.session.SetDeadline(time.Now().Add(beatTimeout)); err != nil {
		return err
	}
	return c.beat()
}

// ends waits until the other side ends the connection, and reports when it did not.
func (c *live) ends(deadline time.Time) error {
	if err := c.session.SetDeadline(deadline); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	_, err := io.Copy(io.Discard, c.session)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s is still open", c.name)
	}
	return nil
}
