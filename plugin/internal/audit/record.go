// Package audit reads the records that the proxies write (xds, audit.go). It is pure.
package audit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/netproxy/netproxy/xds"
)

// Record is one verdict.
type Record struct {
	Time      time.Time `json:"time"`
	Policy    string    `json:"policy"`
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Verdict   string    `json:"verdict"`
	Rule      string    `json:"rule"`
	// RecordedBy is a rule without an action that wanted the record.
	RecordedBy string `json:"recordedBy,omitempty"`
	Chain      string `json:"chain"`
	SNI        string `json:"sni,omitempty"`
	// Destination is where the client connected to, Upstream where the proxy did.
	Destination string `json:"destination,omitempty"`
	Upstream    string `json:"upstream,omitempty"`
	Host        string `json:"host,omitempty"`
	Method      string `json:"method,omitempty"`
	Path        string `json:"path,omitempty"`
	Protocol    string `json:"protocol,omitempty"`
	Status      int    `json:"status,omitempty"`
	Details     string `json:"details,omitempty"`
	Flags       string `json:"flags,omitempty"`
}

// line is a record as Envoy writes it. Marker tells it from other lines of the container.
type line struct {
	Marker string `json:"audit"`
	Record
}

// Kind is what a line is.
type Kind string

// The kinds of lines. A Broken one was meant to be a record and cannot be read: something is missing.
const (
	IsRecord Kind = "record"
	IsOther  Kind = "other"
	Broken   Kind = "broken"
)

const marker = "netproxy"

// Parse reads a line of the container's log.
func Parse(text []byte) (Record, Kind) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("{")) {
		return Record{}, IsOther
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		if bytes.Contains(text, []byte(`"audit":"`+marker)) {
			return Record{}, Broken
		}
		return Record{}, IsOther
	}
	if l.Marker != marker {
		return Record{}, IsOther
	}
	r := l.Record
	// Envoy writes - for what is empty.
	for _, field := range []*string{&r.RecordedBy, &r.SNI, &r.Destination, &r.Upstream, &r.Host, &r.Method, &r.Path, &r.Protocol, &r.Details, &r.Flags, &r.Rule, &r.Chain} {
		if *field == "-" {
			*field = ""
		}
	}
	r.Chain, _, _ = strings.Cut(r.Chain, "#")
	return r, IsRecord
}

// Denied says that the proxy let nothing out.
func (r *Record) Denied() bool { return r.Verdict == xds.Deny }

// TLS says that the client spoke TLS, as far as the proxy saw.
func (r *Record) TLS() bool { return r.SNI != "" || r.Intercepted() }

// Intercepted says that the proxy terminated the TLS.
func (r *Record) Intercepted() bool { return strings.HasPrefix(r.Chain, "intercept") }

// HTTP says that the record is about a request, not a connection.
func (r *Record) HTTP() bool { return r.Method != "" }

// Name is the host that the client asked for: Host, else SNI, else the address.
func (r *Record) Name() string {
	switch {
	case r.Host != "":
		return r.Host
	case r.SNI != "":
		return r.SNI
	}
	return r.Destination
}

// Request is the record as a question to xds.
func (r *Record) Request() xds.Request {
	q := xds.Request{
		TLS: r.TLS(), SNI: r.SNI, HTTP: r.HTTP(), HTTP2: strings.HasPrefix(r.Protocol, "HTTP/2"),
		Host: r.Host, Method: r.Method, Path: r.Path,
	}
	q.Dst, _ = netip.ParseAddrPort(r.Destination)
	if up, err := netip.ParseAddrPort(r.Upstream); err == nil {
		q.Resolved = []netip.Addr{up.Addr()}
	}
	return q
}
