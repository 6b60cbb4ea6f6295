package plugin

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab/attack"
	"github.com/netproxy/netproxy/xds"
)

// maxEndpoints bounds each list of a target: attacks need a few of each kind, whatever the size of the policy.
const maxEndpoints = 4

// targeter finds out from the plan what attacks need to know. It asks the plan about requests that the rules suggest, and
// believes its answers only.
type targeter struct {
	*labRun
	seen map[string]bool
}

func newTargeter(r *labRun) *targeter { return &targeter{r, map[string]bool{}} }

func (t *targeter) target() attack.Target {
	out := attack.Target{
		DefaultAllow:     t.plan.Default == v1alpha1.ActionAllow,
		InspectorTimeout: t.plan.Describe(xds.DualStack).InspectTimeout + time.Second/2,
	}
	t.domains(&out)
	for _, name := range t.names() {
		t.open(&out, name)
	}
	out.CIDR = t.cidrs()
	if name := "denied.netproxy-lab.example"; !out.DefaultAllow && t.isDenied(name) {
		out.Denied = name
	}
	return out
}

// domains collects what is intercepted, what has headers first: most attacks are about the first.
func (t *targeter) domains(out *attack.Target) {
	domains := slices.Clone(t.plan.Domains)
	slices.SortStableFunc(domains, func(a, b xds.Domain) int { return cmp.Compare(len(b.Headers), len(a.Headers)) })
	for i := range domains {
		d := &domains[i]
		switch {
		case d.Addr.IsValid():
			t.collect(&out.Addresses, d.Addr.String(), d)
		case d.Wildcard:
			var pair []attack.Endpoint
			t.collect(&pair, "lab-a."+d.Name, d)
			t.collect(&pair, "lab-b."+d.Name, d)
			if len(pair) == 2 && len(out.Wildcards) < maxEndpoints {
				out.Wildcards = append(out.Wildcards, [2]attack.Endpoint(pair))
				out.Intercepted = append(out.Intercepted, pair...)
			}
		default:
			t.collect(&out.Intercepted, d.Name, d)
		}
	}
}

// collect adds the endpoint of a name that is intercepted and has a permitted request.
func (t *targeter) collect(list *[]attack.Endpoint, name string, d *xds.Domain) {
	ep, v, ok := t.endpoint(name, overTLS)
	if !ok || !v.Intercepted || len(*list) >= maxEndpoints {
		return
	}
	for _, h := range d.Headers {
		ep.Injected = append(ep.Injected, attack.Header{Name: h.Name, Value: t.valueOf(h)})
	}
	ep.DeniedPath = t.deniedPath(ep)
	*list = append(*list, ep)
}

func (t *targeter) valueOf(h xds.Header) string {
	if h.Credential == nil {
		return h.Value
	}
	return h.Credential.Prefix + string([]byte(t.config.Credentials[*h.Credential]))
}

// names are one name for each host of a rule or of passthroughDomains.
func (t *targeter) names() []string {
	var hosts []v1alpha1.Host
	for i := range t.plan.Rules {
		if t.plan.Rules[i].Action == v1alpha1.ActionAllow {
			hosts = append(hosts, t.plan.Rules[i].Names...)
		}
	}
	hosts = append(hosts, t.plan.Passed...)
	if t.plan.Default == v1alpha1.ActionAllow {
		hosts = append(hosts, v1alpha1.Host{Kind: v1alpha1.HostAny})
	}
	var out []string
	for _, h := range hosts {
		switch h.Kind {
		case v1alpha1.HostExact:
			out = append(out, h.Name)
		case v1alpha1.HostSuffix:
			out = append(out, "lab-c."+h.Name)
		case v1alpha1.HostAny:
			out = append(out, "any.netproxy-lab.example")
		}
	}
	return out
}

// open adds a name that is passed through, or allowed in plaintext.
func (t *targeter) open(out *attack.Target, name string) {
	if t.seen[name] {
		return
	}
	t.seen[name] = true
	if ep, v, ok := t.endpoint(name, overTLS); ok && !v.Intercepted && len(out.Passthrough) < maxEndpoints {
		out.Passthrough = append(out.Passthrough, ep)
	}
	if ep, _, ok := t.endpoint(name, plaintext); ok && len(out.Plaintext) < maxEndpoints {
		out.Plaintext = append(out.Plaintext, ep)
		// What uses the usual port goes first.
		slices.SortStableFunc(out.Plaintext, func(a, b attack.Endpoint) int { return cmp.Compare(rank(a.Port), rank(b.Port)) })
	}
}

func rank(port uint16) int {
	if port == plainPort {
		return 0
	}
	return 1
}

// transport is how a request is sent.
type transport string

const (
	overTLS   transport = "tls"
	plaintext transport = "plaintext"

	tlsPort   = 443
	plainPort = 80
)

// endpoint finds a request to the name that the policy permits.
func (t *targeter) endpoint(name string, how transport) (attack.Endpoint, xds.Verdict, bool) {
	for _, port := range t.ports(how) {
		for _, attempt := range t.attempts() {
			v := t.plan.Evaluate(t.request(name, how, port, attempt[0], attempt[1]))
			if v.Verdict == xds.Allow {
				return attack.Endpoint{
					Name: name, Port: port, Method: attempt[0], Path: attempt[1],
					TrustsClient: v.Upstream == string(v1alpha1.ResolutionClient), AcceptsPrivate: v.Upstream == string(v1alpha1.ResolutionAny),
				}, v, true
			}
		}
	}
	return attack.Endpoint{}, xds.Verdict{}, false
}

func (t *targeter) request(name string, how transport, port uint16, method, path string) xds.Request {
	host := name
	addr, err := netip.ParseAddr(name)
	if err != nil {
		addr = t.lab.World.Add(name)[0]
	} else if addr.Is6() {
		host = "[" + name + "]"
	}
	r := xds.Request{
		Dst: netip.AddrPortFrom(addr, port), HTTP: true, TLS: how == overTLS, Host: host, Method: method, Path: path, Resolved: []netip.Addr{addr},
	}
	if r.TLS && err != nil {
		r.SNI = name
	}
	usual := uint16(plainPort)
	if r.TLS {
		usual = tlsPort
	}
	if port != usual {
		r.Host += ":" + strconv.Itoa(int(port))
	}
	return r
}

// ports are the usual one and those that rules name.
func (t *targeter) ports(how transport) []uint16 {
	out := []uint16{tlsPort}
	if how == plaintext {
		out[0] = plainPort
	}
	for i := range t.plan.Rules {
		for _, r := range t.plan.Rules[i].Ports {
			if t.plan.Rules[i].Action == v1alpha1.ActionAllow && !slices.Contains(out, r.First) {
				out = append(out, r.First)
			}
		}
	}
	return out
}

// attempts are methods and paths that rules name, the simplest first.
func (t *targeter) attempts() [][2]string {
	out := [][2]string{{"GET", "/"}}
	for i := range t.plan.Rules {
		for _, m := range t.plan.Rules[i].HTTP {
			methods, paths := m.Methods, []string{"/"}
			if len(methods) == 0 {
				methods = []string{"GET"}
			}
			for _, p := range m.Paths {
				paths = append(paths, sample(p))
			}
			for _, method := range methods {
				for _, path := range paths {
					if attempt := [2]string{method, path}; !slices.Contains(out, attempt) {
						out = append(out, attempt)
					}
				}
			}
		}
	}
	return out
}

func sample(p xds.Path) string {
	if p.Kind == xds.PathPrefix && strings.HasSuffix(p.Text, "/") {
		return p.Text + "lab"
	}
	return p.Text
}

// deniedPath is refused to the endpoint's method, or nothing is.
func (t *targeter) deniedPath(ep attack.Endpoint) string {
	paths := []string{"/netproxy-lab-denied"}
	for _, attempt := range t.attempts() {
		paths = append(paths, attempt[1])
	}
	for _, path := range paths {
		if v := t.plan.Evaluate(t.request(ep.Name, overTLS, ep.Port, ep.Method, path)); v.Verdict == xds.Deny && v.Status == 403 {
			return path
		}
	}
	return ""
}

// cidrs are destinations that are allowed whatever is spoken there.
func (t *targeter) cidrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, r := range t.plan.AddressRules(v1alpha1.ActionAllow) {
		for _, p := range r.Prefixes {
			addr, port := p.Addr(), uint16(5432)
			if !p.IsSingleIP() {
				addr = addr.Next()
			}
			if len(r.Ports) > 0 {
				port = r.Ports[0].First
			}
			dst := netip.AddrPortFrom(addr, port)
			if t.plan.Evaluate(xds.Request{Dst: dst}).Verdict == xds.Allow && len(out) < maxEndpoints {
				out = append(out, dst)
			}
		}
	}
	return out
}

func (t *targeter) isDenied(name string) bool {
	return t.plan.Evaluate(t.request(name, overTLS, tlsPort, "GET", "/")).Verdict == xds.Deny &&
		t.plan.Evaluate(t.request(name, plaintext, plainPort, "GET", "/")).Verdict == xds.Deny
}
