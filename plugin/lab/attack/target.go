// Package attack tries to get around a policy from inside a pod of the lab, and
// says for every attempt what the client got and what the Internet saw.
package attack

import (
	"net/netip"
	"time"
)

// Header is a header that the proxy injects.
type Header struct{ Name, Value string }

// Endpoint is somewhere that the policy lets the workload go.
type Endpoint struct {
	// Name is a host name, or an address literal without brackets.
	Name string
	Port uint16
	// Method and Path are a request that the policy permits. For an endpoint
	// that is passed through they are what the client sends inside.
	Method, Path string
	// DeniedPath is not permitted with Method; empty if every path is.
	DeniedPath string
	// Injected is what the proxy adds, with the values that it adds.
	Injected []Header
	// TrustsClient says that the rule has `resolution: Client`: the proxy
	// connects to whatever address the client chose.
	TrustsClient bool
	// AcceptsPrivate says that the rule has `resolution: Any`.
	AcceptsPrivate bool
}

// Target is what the attacks need to know about a policy. What a policy lacks
// stays empty; the scenarios that need it are skipped with the reason.
type Target struct {
	// Intercepted are names whose TLS is terminated.
	Intercepted []Endpoint
	// Wildcards are pairs of names under one intercepted wildcard.
	Wildcards [][2]Endpoint
	// Addresses are intercepted addresses.
	Addresses []Endpoint
	// Passthrough are allowed names whose TLS is not terminated.
	Passthrough []Endpoint
	// Plaintext are names that are allowed over HTTP without TLS.
	Plaintext []Endpoint
	// CIDR are destinations that a cidr rule allows for every protocol.
	CIDR []netip.AddrPort
	// Denied is a name that no rule allows; empty under default Allow.
	Denied string
	// DefaultAllow says that everything is allowed that is not denied.
	DefaultAllow bool
	// InspectorTimeout is how long the proxy waits for a ClientHello or a
	// request before it closes the connection; 0 means 2 s.
	InspectorTimeout time.Duration
}

// endpoints lists everything with a name.
func (t Target) endpoints() []Endpoint {
	var out []Endpoint
	for _, list := range [][]Endpoint{t.Intercepted, t.Passthrough, t.Plaintext, t.Addresses} {
		out = append(out, list...)
	}
	for _, pair := range t.Wildcards {
		out = append(out, pair[0], pair[1])
	}
	return out
}
