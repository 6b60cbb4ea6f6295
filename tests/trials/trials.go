// Package trials are requests and what policies promise about them. The same ones run in the local lab and on a cluster.
package trials

import (
	"net/netip"
	"net/url"
	"strconv"

	"github.com/netproxy/netproxy/plugin/lab"
)

const (
	// Canary is how every credential of the tests begins.
	Canary = "canary-sk-live-"
	// ClientHeader is what the client itself sends under the names that a policy may set.
	ClientHeader = "from-the-client"
)

// Trial is a request and what its policy's header promises.
type Trial struct {
	Request lab.Request
	Want    Outcome
}

// Try is a trial.
func Try(request lab.Request, want Outcome) Trial { return Trial{request, want} }

// End is how a request ends.
type End string

// Ends.
const (
	Arrives   End = "arrives intercepted"
	Plaintext End = "arrives in plaintext"
	Passed    End = "arrives with the upstream's own certificate"
	Raw       End = "arrives as raw TCP"
	Denied403 End = "403"
	Closed    End = "closed without a byte"
	Status401 End = "401"
	Status404 End = "404"
	Status421 End = "421"
	Status400 End = "400"
	Status503 End = "503"
)

// Outcome is an end, and what leads to it.
type Outcome struct {
	End    End
	Rule   string            // that decides
	Header map[string]string // at the upstream
	// Recorded: the record of a request that is allowed; RecordedBy is the rule that only records.
	Recorded   bool
	RecordedBy string
	Path       string // in the record, if it is not the request's; "-" is none
}

// EndOf reads the end from both sides.
func EndOf(res lab.Result) End {
	switch {
	case res.Upstream == nil && res.ClosedWithoutByte():
		return Closed
	case res.Upstream == nil:
		return End(res.String())
	case res.Peer.FromLabCA():
		return Passed
	case res.Peer != nil && res.Status == 200:
		return Arrives
	case res.Status == 200:
		return Plaintext
	case res.Status == 0 && res.Outcome == lab.Answered:
		return Raw
	}
	return End("arrives, but the client got " + res.String())
}

// Ask is a request to a URL; the scheme tcp sends something that is not HTTP, and tls the same inside of TLS.
func Ask(method, target string, changes ...func(*lab.Request)) lab.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r := lab.Request{
		Method: method, Path: u.RequestURI(), Host: u.Hostname(), SNI: u.Hostname(),
		TLS: u.Scheme == "https" || u.Scheme == "tls", Raw: u.Scheme == "tcp" || u.Scheme == "tls",
		Header: []lab.Field{{Name: "Authorization", Value: ClientHeader}, {Name: "X-Agent", Value: ClientHeader}},
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		r.Host, r.SNI = AuthorityOf(addr), "-"
		r.Dst = netip.AddrPortFrom(addr, portOf(u))
	} else {
		r.Name, r.Dst = u.Hostname(), netip.AddrPortFrom(netip.Addr{}, portOf(u))
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// WithHost asks for another host.
func WithHost(host string) func(*lab.Request) { return func(r *lab.Request) { r.Host = host } }

// WithSNI asks TLS for another name; "-" for none.
func WithSNI(name string) func(*lab.Request) { return func(r *lab.Request) { r.SNI = name } }

// WithPath sends a path as it is.
func WithPath(path string) func(*lab.Request) { return func(r *lab.Request) { r.Path = path } }

// OverHTTP2 asks with HTTP/2.
func OverHTTP2(r *lab.Request) { r.HTTP2 = true }

// To connects to an address whatever the name says.
func To(addr netip.Addr) func(*lab.Request) {
	return func(r *lab.Request) { r.Dst = netip.AddrPortFrom(addr, r.Dst.Port()) }
}

// Stranger is an address that no policy of the examples names.
var Stranger = netip.MustParseAddr("203.0.113.66")

// AuthorityOf spells an address as a Host does.
func AuthorityOf(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
