package xds

import (
	"fmt"
	"net/netip"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/special"
	"github.com/netproxy/netproxy/api/v1alpha1"
)

// PolicyRef names the policy that a configuration comes from.
type PolicyRef struct{ Kind, Namespace, Name string }

// String is kind/namespace/name, or kind/name of a cluster-wide policy.
func (r PolicyRef) String() string {
	if r.Namespace == "" {
		return r.Kind + "/" + r.Name
	}
	return r.Kind + "/" + r.Namespace + "/" + r.Name
}

// Plan is a compiled policy. It does not change once it is made and can be shared.
type Plan struct {
	Ref       PolicyRef
	Default   v1alpha1.Action
	Rules     []Rule
	Domains   []Domain
	Passed    []v1alpha1.Host
	ProxyPort uint16
	AdminPort uint16

	names     nameIndex
	addresses map[netip.Addr]int // intercepted addresses, to Domains
	opaque    PortSet            // ports where only addresses count
	classes   []portClass
	byAddress map[v1alpha1.Action][]*Rule

	takesEncodedSlashes bool
	passedNames         int
	special             []netip.Prefix // never reached by a name or by default
}

// Rule is a rule of the policy, its strings parsed.
type Rule struct {
	Index      int
	Name       string
	Field      string // path in the policy
	Action     v1alpha1.Action
	Audit      bool
	Names      []v1alpha1.Host
	Prefixes   []netip.Prefix // CIDRs and IP literals: the address that the client connects to
	AnyDst     bool           // neither hosts nor cidrs
	Ports      PortSet
	Resolution v1alpha1.Resolution
	HTTP       []HTTPMatch
}

// HTTPMatch is one alternative of a rule's http: nil Methods or Paths match everything.
type HTTPMatch struct {
	Methods      []string
	Paths        []Path
	EncodedSlash EncodedSlash
}

// EncodedSlash says whether a path with %2F or %5C can match.
type EncodedSlash bool

// The two answers.
const (
	RefuseEncodedSlash EncodedSlash = false
	AllowEncodedSlash  EncodedSlash = true
)

// Path is a normalised path and how it is compared.
type Path struct {
	Kind PathKind
	Text string

	// pattern is for paths that Envoy's normalisation leaves in several spellings; it takes them all, as a whole.
	pattern *regexp.Regexp
}

// PathKind is how a path is compared.
type PathKind string

// The kinds of paths.
const (
	PathExact  PathKind = "exact"
	PathPrefix PathKind = "prefix"
)

// Domain is an intercepted domain and what is put into its requests.
type Domain struct {
	v1alpha1.Domain
	Field   string
	Headers []Header
}

// Header is one header to set: a literal value, or a credential.
type Header struct {
	Name       string
	Value      string
	Credential *Credential
}

// Credential is a value from a Secret of the workload's namespace. Two headers with equal credentials share one file.
type Credential struct {
	Header, Secret, Key, Prefix string
}

// Compile makes the plan of a policy. The policy must have passed v1alpha1.Validate; an error means that it did not.
func Compile(ref PolicyRef, spec *v1alpha1.EgressPolicySpec) (*Plan, error) {
	p := &Plan{Ref: ref, Default: spec.Egress.DefaultAction, special: special.Prefixes(), ProxyPort: uint16(v1alpha1.DefaultProxyPort), AdminPort: uint16(v1alpha1.DefaultAdminPort)}
	if spec.Proxy.Port != nil {
		p.ProxyPort = uint16(*spec.Proxy.Port)
	}
	if spec.Proxy.AdminPort != nil {
		p.AdminPort = uint16(*spec.Proxy.AdminPort)
	}
	path := field.NewPath("spec")
	if err := p.compileRules(spec.Egress.Rules, path.Child("egress", "rules")); err != nil {
		return nil, err
	}
	if err := p.compileMITM(spec.MITM, path.Child("mitm")); err != nil {
		return nil, err
	}
	p.sortAddressRules()
	p.takesEncodedSlashes = p.anyTakesEncodedSlashes()
	p.passedNames = p.countPassedNames()
	p.names = indexNames(p)
	p.opaque = p.opaquePorts()
	p.classes = p.portClasses()
	return p, nil
}

func (p *Plan) compileRules(rules []v1alpha1.Rule, path *field.Path) error {
	p.Rules = make([]Rule, 0, len(rules))
	for i := range rules {
		rule, err := compileRule(i, &rules[i], path.Index(i))
		if err != nil {
			return err
		}
		p.Rules = append(p.Rules, rule)
	}
	return nil
}

func compileRule(i int, in *v1alpha1.Rule, path *field.Path) (Rule, error) {
	out := Rule{
		Index: i, Name: v1alpha1.RuleName(i, in), Field: path.String(), Action: in.Action, Audit: in.Audit,
		AnyDst: len(in.Hosts) == 0 && len(in.CIDRs) == 0, Ports: newPortSet(in.Ports), Resolution: in.Resolution,
	}
	if out.Resolution == "" {
		out.Resolution = v1alpha1.ResolutionPublic
	}
	for k, text := range in.Hosts {
		host, err := v1alpha1.ParseHost(text)
		if err != nil {
			return Rule{}, fmt.Errorf("%s: %w", path.Child("hosts").Index(k), err)
		}
		if host.Kind == v1alpha1.HostIP {
			out.Prefixes = append(out.Prefixes, netip.PrefixFrom(host.Addr, host.Addr.BitLen()))
			continue
		}
		out.Names = append(out.Names, host)
	}
	for k, text := range in.CIDRs {
		prefix, err := v1alpha1.ParseCIDR(text)
		if err != nil {
			return Rule{}, fmt.Errorf("%s: %w", path.Child("cidrs").Index(k), err)
		}
		out.Prefixes = append(out.Prefixes, prefix)
	}
	out.HTTP = compileHTTP(in.HTTP)
	return out, nil
}

func compileHTTP(in []v1alpha1.HTTPMatch) []HTTPMatch {
	var out []HTTPMatch
	for _, m := range in {
		match := HTTPMatch{Methods: m.Methods, EncodedSlash: EncodedSlash(m.AllowEncodedSlashes)}
		for _, p := range m.Paths {
			if p.Exact != nil {
				match.Paths = append(match.Paths, newPath(PathExact, *p.Exact, m.EncodedSlashes()))
			} else if p.Prefix != nil {
				match.Paths = append(match.Paths, newPath(PathPrefix, *p.Prefix, m.EncodedSlashes()))
			}
		}
		out = append(out, match)
	}
	return out
}

func (p *Plan) compileMITM(mitm *v1alpha1.MITM, path *field.Path) error {
	p.addresses = map[netip.Addr]int{}
	if mitm == nil {
		return nil
	}
	byText := make(map[string]int, len(mitm.Domains))
	p.Domains = make([]Domain, 0, len(mitm.Domains))
	for i, text := range mitm.Domains {
		d, err := v1alpha1.ParseDomain(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Child("domains").Index(i), err)
		}
		byText[text] = i
		if d.Addr.IsValid() {
			p.addresses[d.Addr] = i
		}
		p.Domains = append(p.Domains, Domain{Domain: d, Field: path.Child("domains").Index(i).String()})
	}
	for i, text := range mitm.PassthroughDomains {
		host, err := v1alpha1.ParseHost(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Child("passthroughDomains").Index(i), err)
		}
		p.Passed = append(p.Passed, host)
	}
	return p.compileHeaders(mitm.HeaderMutations, byText, path.Child("headerMutations"))
}

func (p *Plan) compileHeaders(in []v1alpha1.HeaderMutation, byText map[string]int, path *field.Path) error {
	for i, m := range in {
		at, ok := byText[m.Domain]
		if !ok {
			return field.NotFound(path.Index(i).Child("domain"), m.Domain)
		}
		for _, h := range m.Headers {
			header := Header{Name: h.Name}
			if h.SecretRef != nil {
				header.Credential = &Credential{Header: h.Name, Secret: h.SecretRef.Name, Key: h.SecretRef.Key, Prefix: h.Prefix}
			} else if h.Value != nil {
				header.Value = *h.Value
			}
			p.Domains[at].Headers = append(p.Domains[at].Headers, header)
		}
	}
	return nil
}

// newPath normalises as Envoy does; Validate has refused what has no such form.
func newPath(kind PathKind, text string, slashes v1alpha1.EncodedSlashes) Path {
	if normal, err := v1alpha1.NormalizePath(text, slashes); err == nil {
		text = normal
	}
	path := Path{Kind: kind, Text: text}
	if pattern, several := v1alpha1.PathPattern(text); several {
		if kind == PathPrefix {
			pattern += ".*"
		}
		path.pattern = regexp.MustCompile("^(?:" + pattern + ")$")
	}
	return path
}
