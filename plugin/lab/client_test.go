package lab

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// passthrough opens a session to pass.lab.example, through Envoy: the upstream
// of the lab itself answers.
func passthrough(t *testing.T, opts TLSOptions) (*Lab, *Session, Outcome, error) {
	t.Helper()
	l, _ := startEnvoy(t)
	addr, err := l.World.Addr("pass.lab.example", IPv4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	s, outcome, err := l.Pods[0].Open(ctx, netip.AddrPortFrom(addr, 443), &opts)
	if s != nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return l, s, outcome, err
}

func TestHandshakes(t *testing.T) {
	const name = "pass.lab.example"
	for _, tc := range []struct {
		title   string
		opts    TLSOptions
		outcome Outcome
		version uint16
		alpn    string
	}{
		{"plain", TLSOptions{SNI: name}, Answered, tls.VersionTLS13, ""},
		{"TLS 1.2", TLSOptions{SNI: name, Max: tls.VersionTLS12}, Answered, tls.VersionTLS12, ""},
		{"TLS 1.1", TLSOptions{SNI: name, Min: tls.VersionTLS11, Max: tls.VersionTLS11}, Broken, 0, ""},
		{"h2", TLSOptions{SNI: name, ALPN: []string{"h2", "http/1.1"}}, Answered, tls.VersionTLS13, "h2"},
		{"unknown ALPN", TLSOptions{SNI: name, ALPN: []string{"lab/1"}}, Answered, tls.VersionTLS13, ""},
		{"segments", TLSOptions{SNI: name, SegmentSize: 50}, Answered, tls.VersionTLS13, ""},
		{"records", TLSOptions{SNI: name, RecordSize: 50}, Answered, tls.VersionTLS13, ""},
		{"delay", TLSOptions{SNI: name, Delay: 100 * time.Millisecond}, Answered, tls.VersionTLS13, ""},
		{"no SNI", TLSOptions{}, Reset, 0, ""},
		{"address as SNI", TLSOptions{SNI: "192.0.2.1"}, Reset, 0, ""},
	} {
		_, s, outcome, err := passthrough(t, tc.opts)
		if outcome != tc.outcome {
			t.Errorf("%s: %s (%v), want %s", tc.title, outcome, err, tc.outcome)
			continue
		}
		if s != nil && (s.Version != tc.version || s.ALPN != tc.alpn || !s.Peer.FromLabCA()) {
			t.Errorf("%s: version %#x, ALPN %q, peer %v", tc.title, s.Version, s.ALPN, s.Peer)
		}
	}
}

// TestHelloNames reads back what a handwritten hello says, as Envoy's
// inspector sees it: only the exact name is passed through.
func TestHelloNames(t *testing.T) {
	l, _ := startEnvoy(t)
	addr, err := l.World.Addr("pass.lab.example", IPv4)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		names []string
		want  bool
	}{
		{[]string{"pass.lab.example"}, true},
		{[]string{"pass.lab.example."}, false},
		{[]string{"pass.lab.example\x00.invalid"}, false},
		{nil, false},
	} {
		res := l.Pods[0].Hello(t.Context(), netip.AddrPortFrom(addr, 443), Hello{Names: tc.names})
		if got := res.Peer.FromLabCA(); got != tc.want {
			t.Errorf("%q: upstream's certificate %v (%s, %v), want %v", tc.names, got, res.Outcome, res.Err, tc.want)
		}
	}
}

func TestHTTP2Client(t *testing.T) {
	_, s, _, err := passthrough(t, TLSOptions{SNI: "pass.lab.example", ALPN: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.HTTP2()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"pass.lab.example", "other.example"} {
		res := c.Send([]byte("body"), HTTP2Fields("POST", "https", host, "/x")...)
		if res.Status != 200 || !strings.Contains(string(res.Body), `"host":"`+host+`"`) {
			t.Errorf("%s: %s %s %v", host, res, res.Body, res.Err)
		}
	}
	if res := c.Send(nil, HTTP2Fields("GET", "https", "pass.lab.example", "/status/418")...); res.Status != 418 {
		t.Errorf("status: %s, %v", res, res.Err)
	}
}

func TestHTTP1Client(t *testing.T) {
	_, s, _, err := passthrough(t, TLSOptions{SNI: "pass.lab.example"})
	if err != nil {
		t.Fatal(err)
	}
	c := s.HTTP1()
	two := append(HTTP1Request("GET", "/status/404", "HTTP/1.1", nil, Field{"Host", "a"}), HTTP1Request("GET", "/bytes/7", "HTTP/1.1", nil, Field{"Host", "b"})...)
	first, second := c.Send("GET", two), c.Receive("GET")
	if first.Status != 404 || second.Status != 200 || len(second.Body) != 7 {
		t.Errorf("pipelined: %s, %s with %d bytes", first, second, len(second.Body))
	}
	if res := c.Send("GET", HTTP1Request("GET", "/ws", "HTTP/1.1", nil, WebSocketFields("a")...)); res.Status != 101 {
		t.Fatalf("websocket: %s %v", res, res.Err)
	}
	if _, err := c.Write(WebSocketFrame("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil || !strings.HasSuffix(string(buf[:n]), "hello") {
		t.Errorf("echo: %q, %v", buf[:n], err)
	}
}

func TestSplitRecords(t *testing.T) {
	in := []byte("\x16\x03\x01\x00\x05hello\x17\x03\x03\x00\x01!")
	want := []byte("\x16\x03\x01\x00\x02he\x16\x03\x01\x00\x02ll\x16\x03\x01\x00\x01o\x17\x03\x03\x00\x01!")
	if diff := cmp.Diff(want, splitRecords(in, 2)); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
}

func TestWorld(t *testing.T) {
	w, err := NewWorld()
	if err != nil {
		t.Fatal(err)
	}
	own := w.Add("A.Example.")
	w.Add("*.wild.example", netip.MustParseAddr("192.0.2.9"))
	for name, want := range map[string]bool{"a.example": true, "A.EXAMPLE.": true, "x.wild.example": true, "x.y.wild.example": true, "wild.example": false, "b.example": false} {
		if _, known := w.Lookup(name); known != want {
			t.Errorf("%s is known: %v, want %v", name, known, want)
		}
	}
	for _, tc := range []struct {
		name string
		addr netip.Addr
		want bool
	}{
		{"a.example", own[0], true}, {"a.example", own[1], true}, {"b.example", own[0], false},
		{"x.wild.example", netip.MustParseAddr("192.0.2.9"), true}, {"192.0.2.9", netip.MustParseAddr("192.0.2.9"), true}, {"[2001:db8::1]", netip.MustParseAddr("2001:db8::1"), true},
	} {
		if got := w.Owns(tc.name, tc.addr); got != tc.want {
			t.Errorf("%s owns %s: %v, want %v", tc.name, tc.addr, got, tc.want)
		}
	}
	if again := w.Add("a.example"); again[0] != own[0] {
		t.Errorf("a name moved from %s to %s", own[0], again[0])
	}
}
