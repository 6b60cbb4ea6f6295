package lab

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// TokenHeader carries the token of one request. The ledger has an index of it.
const TokenHeader = "X-Lab-Token"

// maxRaw is how many bytes of a connection the ledger keeps.
const maxRaw = 16 << 10

// Kind is what an entry of the ledger is about.
type Kind string

// Kinds.
const (
	DNSQuery   Kind = "dns"
	Connection Kind = "connection"
	HTTP       Kind = "request"
	// Packet is an IP packet that is neither TCP nor neighbour discovery.
	Packet Kind = "packet"
)

// Entry is one thing that the Internet saw.
type Entry struct {
	Seq  uint64         `json:"seq"`
	Time time.Time      `json:"time"`
	Kind Kind           `json:"kind"`
	From netip.AddrPort `json:"from"`
	// To is what the client (the proxy, as a rule) connected to.
	To    netip.AddrPort `json:"to"`
	Proto string         `json:"proto"`
	// Owners are the names that live at To.
	Owners []string `json:"owners,omitempty"`

	// Query and QueryType are set for DNSQuery.
	Query     string `json:"query,omitempty"`
	QueryType string `json:"queryType,omitempty"`

	// Set for connections, and copied to their requests.
	TLS       bool     `json:"tls,omitempty"`
	SNI       string   `json:"sni,omitempty"`
	ALPN      []string `json:"alpn,omitempty"`
	Handshake bool     `json:"handshake,omitempty"`
	// TLSVersion is the negotiated version, such as 0x0304.
	TLSVersion uint16 `json:"tlsVersion,omitempty"`
	// Raw is the beginning of what the client sent, after decryption.
	Raw []byte `json:"-"`
	// Received counts the bytes that the client sent, after decryption.
	Received int64 `json:"received,omitempty"`

	// Set for requests.
	Conn    uint64      `json:"conn,omitempty"`
	Version string      `json:"version,omitempty"`
	Host    string      `json:"host,omitempty"`
	Method  string      `json:"method,omitempty"`
	Path    string      `json:"path,omitempty"`
	Header  http.Header `json:"-"`
}

// Ledger records what the Internet saw. It is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	seq     uint64
	entries []*Entry
	tokens  map[string]*Entry
	changed chan struct{}
	owners  func(netip.Addr) []string
}

func newLedger() *Ledger {
	return &Ledger{tokens: map[string]*Entry{}, changed: make(chan struct{})}
}

func (l *Ledger) add(e Entry) *Entry {
	if l.owners != nil {
		e.Owners = l.owners(e.To.Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq, e.Time = l.seq, time.Now()
	l.entries = append(l.entries, &e)
	if token := e.Header.Get(TokenHeader); token != "" {
		l.tokens[token] = &e
	}
	l.wake()
	return &e
}

// change updates an entry under the lock.
func (l *Ledger) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	l.wake()
}

func (l *Ledger) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Mark is a point in time: Since(Mark()) are the entries that come after it.
func (l *Ledger) Mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq
}

// Since returns copies of the entries after mark.
func (l *Ledger) Since(mark uint64) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.entries, mark+1, func(e *Entry, s uint64) int {
		return int(int64(e.Seq) - int64(s))
	})
	out := make([]Entry, 0, len(l.entries)-i)
	for _, e := range l.entries[i:] {
		c := *e
		c.Raw = bytes.Clone(e.Raw)
		out = append(out, c)
	}
	return out
}

// Forget drops everything that was recorded so far.
func (l *Ledger) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.tokens = nil, map[string]*Entry{}
}

// Request returns the request that carried token in [TokenHeader].
func (l *Ledger) Request(token string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.tokens[token]; ok {
		return *e, true
	}
	return Entry{}, false
}

// Wait returns the first entry after mark for which match holds, and waits for
// it until ctx ends.
func (l *Ledger) Wait(ctx context.Context, mark uint64, match func(Entry) bool) (Entry, bool) {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		for _, e := range l.Since(mark) {
			if match(e) {
				return e, true
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Entry{}, false
		}
	}
}

// Mentions reports whether s occurs anywhere in what the entry recorded: the
// query, SNI, ALPN, the request or the raw bytes. Case does not matter.
func (e Entry) Mentions(s string) bool {
	s = strings.ToLower(s)
	fields := append([]string{e.Query, e.SNI, e.Host, e.Method, e.Path}, e.ALPN...)
	for name, values := range e.Header {
		fields = append(append(fields, name), values...)
	}
	for _, f := range fields {
		if strings.Contains(strings.ToLower(f), s) {
			return true
		}
	}
	return bytes.Contains(bytes.ToLower(e.Raw), []byte(s))
}
