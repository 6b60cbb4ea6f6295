package lab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// ActionHeader chooses what the upstream does, for policies that allow one
// path only. Otherwise the end of the path decides: /stream (server-sent
// events every 200 ms), /ws (WebSocket echo), /slow (answers after 2 s),
// /status/NNN, /bytes/N.
const ActionHeader = "X-Lab-Do"

// Seen is the upstream's answer: what it saw of a request.
type Seen struct {
	Address netip.Addr  `json:"address"`
	Port    uint16      `json:"port"`
	TLS     bool        `json:"tls"`
	SNI     string      `json:"sni"`
	Host    string      `json:"host"`
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Proto   string      `json:"proto"`
	Headers http.Header `json:"headers"`
}

type entryKey struct{}

func (u *upstream) newHTTP() *http.Server {
	s := &http.Server{
		Handler: http.HandlerFunc(u.handle), ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols),
		TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, entryKey{}, entryOf(c))
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

func entryOf(c net.Conn) *Entry {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if s, ok := c.(*seenConn); ok {
		return s.entry
	}
	return &Entry{}
}

// handle records the request before it answers: who got an answer finds the entry.
func (u *upstream) handle(w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(entryKey{}).(*Entry)
	var c Entry
	u.ledger.change(func() { c = *conn })
	u.ledger.add(Entry{
		Kind: HTTP, Conn: c.Seq, From: c.From, To: c.To, Proto: "tcp",
		TLS: c.TLS, SNI: c.SNI, ALPN: c.ALPN, Handshake: c.Handshake, TLSVersion: c.TLSVersion,
		Version: r.Proto, Host: r.Host, Method: r.Method, Path: r.RequestURI, Header: r.Header.Clone(),
	})
	seen := Seen{
		Address: c.To.Addr(), Port: c.To.Port(), TLS: c.TLS, SNI: c.SNI,
		Host: r.Host, Method: r.Method, Path: r.RequestURI, Proto: r.Proto, Headers: r.Header,
	}
	action, argument := actionOf(r)
	switch action {
	case "stream":
		stream(w, r)
	case "ws":
		server := websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }}
		server.ServeHTTP(w, r)
	case "slow":
		select {
		case <-time.After(2 * time.Second):
			answer(w, http.StatusOK, seen)
		case <-r.Context().Done():
		}
	case "bytes":
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(argument))
		_, _ = io.CopyN(w, zeros{}, int64(argument))
	case "status":
		answer(w, argument, seen)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, http.StatusOK, seen)
	}
}

func actionOf(r *http.Request) (action string, argument int) {
	if do := r.Header.Get(ActionHeader); do != "" {
		action, number, _ := strings.Cut(do, "/")
		argument, _ = strconv.Atoi(number)
		return action, clampArgument(action, argument)
	}
	base := path.Base(r.URL.Path)
	if n, err := strconv.Atoi(base); err == nil {
		action = path.Base(path.Dir(r.URL.Path))
		return action, clampArgument(action, n)
	}
	if base == "stream" || base == "ws" || base == "slow" {
		return base, 0
	}
	return "", 0
}

func clampArgument(action string, n int) int {
	if action == "status" && (n < 200 || n > 599) {
		return http.StatusOK
	}
	return min(max(n, 0), 64<<20)
}

func answer(w http.ResponseWriter, status int, seen Seen) {
	body, err := json.Marshal(seen)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
