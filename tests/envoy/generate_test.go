package envoy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// generator makes policies and requests that meet often: both choose from the same few hosts, addresses, ports, paths.
type generator struct {
	*rand.Rand
	lab *lab.Lab
}

func names() []string {
	return []string{
		"api.alpha.example", "www.alpha.example", "a.sub.alpha.example", "beta.example", "api.beta.example",
		"gamma.example", "x.gamma.example", "private.gamma.example", "corp.gamma.example", "web.demo.svc.cluster.local", "missing.example",
	}
}

func patterns() []string {
	return []string{"*.alpha.example", "*.sub.alpha.example", "*.beta.example", "*.gamma.example", "*", "API.Alpha.Example.", "192.0.2.200", "[2001:db8:7::1]"}
}

func domains() []string {
	return []string{"api.alpha.example", "*.alpha.example", "*.sub.alpha.example", "beta.example", "*.beta.example", "*.gamma.example", "gamma.example", "192.0.2.200", "2001:db8:7::1"}
}

func cidrs() []string {
	return []string{"203.0.113.0/24", "203.0.113.128/25", "2001:db8:7::/48", "10.0.0.0/8", "192.0.2.200", "169.254.169.254/32", "198.51.100.0/24", "0.0.0.0/0"}
}

// ranges are what an organisation could count as private: an address that one name has alone, and some of the addresses that the
// lab gives first.
func (g *generator) ranges() []netip.Prefix {
	corp, v4, v6 := netip.MustParsePrefix("25.0.0.0/8"), netip.MustParsePrefix("198.51.100.0/30"), netip.MustParsePrefix("2001:db8:1::/119")
	return pick(g, nil, nil, []netip.Prefix{corp}, []netip.Prefix{corp, v4}, []netip.Prefix{v4, v6})
}

func (g *generator) prepareWorld() {
	for _, name := range names() {
		switch name {
		case "private.gamma.example", "web.demo.svc.cluster.local":
			g.lab.World.Add(name, netip.MustParseAddr("10.1.2.3"))
		case "corp.gamma.example":
			g.lab.World.Add(name, netip.MustParseAddr("25.1.2.3"))
		case "missing.example": // has no address
		default:
			g.lab.World.Add(name)
		}
	}
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func some[T any](g *generator, most int, from []T) []T {
	n := 1 + g.IntN(most)
	var out []T
	for _, i := range g.Perm(len(from))[:min(n, len(from))] {
		out = append(out, from[i])
	}
	return out
}

// policy is one that validation accepts.
func (g *generator) policy() v1alpha1.EgressPolicySpec {
	for {
		var spec v1alpha1.EgressPolicySpec
		spec.Egress.DefaultAction = v1alpha1.ActionDeny
		if g.chance(20) {
			spec.Egress.DefaultAction = v1alpha1.ActionAllow
		}
		for i := range 1 + g.IntN(6) {
			spec.Egress.Rules = append(spec.Egress.Rules, g.rule(i))
		}
		if g.chance(85) {
			spec.MITM = g.mitm()
		}
		if _, errs := v1alpha1.Validate(&spec, field.NewPath("spec")); len(errs) == 0 {
			return spec
		}
	}
}

func (g *generator) rule(i int) v1alpha1.Rule {
	r := v1alpha1.Rule{Action: v1alpha1.ActionAllow}
	if g.chance(40) {
		r.Name = fmt.Sprintf("named-%d", i)
	}
	if g.chance(25) {
		r.Action = v1alpha1.ActionDeny
	}
	switch g.IntN(10) {
	case 0, 1:
		r.CIDRs = some(g, 2, cidrs())
	case 2:
		if r.Action == v1alpha1.ActionDeny && len(r.Name) == 0 {
			r.CIDRs = some(g, 1, cidrs())
		}
	default:
		r.Hosts = some(g, 3, append(names(), patterns()...))
		if g.chance(25) {
			r.Resolution = pick(g, v1alpha1.ResolutionAny, v1alpha1.ResolutionClient)
		}
	}
	if g.chance(50) {
		r.Ports = some(g, 2, g.portRanges())
	}
	if g.chance(45) {
		for range 1 + g.IntN(2) {
			r.HTTP = append(r.HTTP, g.match())
		}
	}
	r.Audit = g.chance(10)
	if g.chance(5) {
		r.Action, r.Audit = "", true
	}
	return r
}

func (g *generator) portRanges() []v1alpha1.PortRange {
	end := int32(8500)
	return []v1alpha1.PortRange{{Port: 443}, {Port: 443}, {Port: 80}, {Port: 8080, EndPort: &end}, {Port: 6000}}
}

func (g *generator) match() v1alpha1.HTTPMatch {
	var m v1alpha1.HTTPMatch
	if g.chance(50) {
		m.Methods = some(g, 2, []string{"GET", "POST", "DELETE", "PROPFIND"})
	}
	for _, p := range some(g, 2, []string{"/v1/", "/v1/files", "/admin", "/", "/caf%C3%A9", "/a-b~c", "/v1/a:b", "/admin;x"}) {
		path := p
		if g.chance(30) {
			m.Paths = append(m.Paths, v1alpha1.PathMatch{Exact: &path})
		} else {
			m.Paths = append(m.Paths, v1alpha1.PathMatch{Prefix: &path})
		}
	}
	m.AllowEncodedSlashes = g.chance(15)
	return m
}

func (g *generator) mitm() *v1alpha1.MITM {
	m := &v1alpha1.MITM{Domains: some(g, 4, domains())}
	if g.chance(30) {
		m.PassthroughDomains = some(g, 1, []string{"www.alpha.example", "*.sub.alpha.example", "x.gamma.example", "api.beta.example"})
	}
	for i, d := range m.Domains {
		if !g.chance(50) {
			continue
		}
		value := fmt.Sprintf("100%% agent-%d", i)
		headers := []v1alpha1.Header{
			{Name: "Authorization", SecretRef: &v1alpha1.SecretKeyRef{Name: fmt.Sprintf("s%d", i), Key: "key"}, Prefix: "Bearer "},
			{Name: "X-Agent", Value: &value},
		}
		m.HeaderMutations = append(m.HeaderMutations, v1alpha1.HeaderMutation{Domain: d, Headers: headers[:1+g.IntN(2)]})
	}
	return m
}

// request is one that the policy's rules may have an opinion on.
func (g *generator) request() (lab.Request, xds.Request) {
	name := pick(g, names()...)
	r := lab.Request{SNI: name, Host: name, TLS: g.chance(65), Method: pick(g, "GET", "GET", "GET", "POST", "DELETE", "PROPFIND", "TRACE"), Path: g.path()}
	r.HTTP2 = g.chance(40)
	r.Raw = g.chance(12)
	if g.chance(15) {
		r.Host = pick(g, names()...)
	}
	if g.chance(6) {
		r.SNI = "-"
	}
	port := pick(g, uint16(443), 443, 443, 80, 80, 8080, 8443, 6000, 6001)
	r.Dst = netip.AddrPortFrom(g.destination(name), port)
	if g.chance(8) {
		r.Host = authorityOf(r.Dst.Addr())
	}
	r.Host = g.decorate(r.Host, port)
	if r.TLS && g.chance(15) {
		r.SNI = strings.ToUpper(r.SNI)
	}
	return r, seen(g.lab, r)
}

func (g *generator) path() string {
	return pick(g, "/", "/v1/", "/v1/files", "/v1/files?x=%2F", "/v1//files", "/v1/../admin", "/admin/x", "/%61dmin", "/v1/%2e%2e/admin",
		"/v1/a%2Fb", "/v1/a%5cb", "/caf%C3%A9/x", "/caf%c3%a9", "/a-b%7Ec", "/x/./v1/", "/v1/a:b", "/v1/a%3ab", "/v1/..;/admin", "/v1/x=..;/b", "/v1/..%2f..%2fadmin", "/v1/%2e%2e%2fadmin", "/v1/.%5Cx", "/v1/|x{}", "/v1/%01", "/a//../admin", "/v1/.;x/files", "/v1/...", "/admin%3Bx", "/v1/;a=b/../admin", "/V1/", "/v1/a\\b", "/v1", "/x%25y")
}

func (g *generator) destination(name string) netip.Addr {
	if g.chance(65) {
		if addrs, ok := g.lab.World.Lookup(name); ok {
			return pick(g, addrs...)
		}
	}
	return pick(g, netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("203.0.113.200"), netip.MustParseAddr("192.0.2.200"),
		netip.MustParseAddr("2001:db8:7::1"), netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("169.254.169.254"), lab.Attacker4, lab.Attacker6)
}

func (g *generator) decorate(host string, port uint16) string {
	switch g.IntN(12) {
	case 0:
		return strings.ToUpper(host)
	case 1:
		return fmt.Sprintf("%s:%d", host, port)
	case 2:
		if !strings.HasSuffix(host, "]") && !strings.HasSuffix(host, "0") {
			return host + "."
		}
	case 3:
		return host + pick(g, ":9999", ":9999", ":")
	}
	return host
}

// seen is the request as Evaluate takes it.
func seen(l *lab.Lab, r lab.Request) xds.Request {
	out := xds.Request{Dst: r.Dst, TLS: r.TLS, SNI: strings.TrimPrefix(r.SNI, "-"), HTTP: !r.Raw, HTTP2: r.HTTP2, Host: r.Host, Method: r.Method, Path: r.Path}
	claimed := out.Host
	if r.Raw || r.TLS && out.SNI != "" {
		claimed = out.SNI
	}
	host, _, err := v1alpha1.ParseAuthority(claimed)
	if err != nil {
		return out
	}
	addrs, _ := l.World.Lookup(host)
	out.Resolved = append([]netip.Addr{}, addrs...)
	return out
}
