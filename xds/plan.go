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
	inspected PortSet            // and all others
	classes   []portClass
	byAddress map[v1alpha1.Action][]*Rule

	takesEncodedSlashes bool
	passedNames         int
	special             []netip.Prefix // never reached by a name or by default
	private             []netip.Prefix // nor by a name whose rule wants public addresses
}

// Rule is a rule of the policy, its strings parsed.
type Rule struct {
	Index      int
	Name       string
	Action     v1alpha1.Action
	Audit      bool
	AnyDst     bool // neither hosts nor cidrs
	Names      []v1alpha1.Host
	Prefixes   []netip.Prefix // CIDRs and IP literals: the address that the client connects to
	Ports      PortSet
	Resolution v1alpha1.Resolution
	HTTP       []HTTPMatch
}

// Field is the rule's path in the policy.
func (r *Rule) Field() string { return indexed(rulesField(), r.Index) }

func rulesField() *field.Path { return field.NewPath("spec", "egress", "rules") }

func mitmField() *field.Path { return field.NewPath("spec", "mitm") }

func domainsField() *field.Path { return mitmField().Child("domains") }

func indexed(path *field.Path, i int) string { return path.Index(i).String() }

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
	Index   int
	Headers []Header
}

// Field is the domain's path in the policy.
func (d *Domain) Field() string { return indexed(domainsField(), d.Index) }

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
// private are the ranges that count as private besides the built-in ones.
func Compile(ref PolicyRef, spec *v1alpha1.EgressPolicySpec, private ...netip.Prefix) (*Plan, error) {
	p := &Plan{Ref: ref, Default: spec.Egress.DefaultAction, special: special.Prefixes(), private: privateRanges(private), ProxyPort: uint16(v1alpha1.DefaultProxyPort), AdminPort: uint16(v1alpha1.DefaultAdminPort)}
	if spec.Proxy.Port != nil {
		p.ProxyPort = uint16(*spec.Proxy.Port)
	}
	if spec.Proxy.AdminPort != nil {
		p.AdminPort = uint16(*spec.Proxy.AdminPort)
	}
	if err := p.compileRules(spec.Egress.Rules); err != nil {
		return nil, err
	}
	if err := p.compileMITM(spec.MITM); err != nil {
		return nil, err
	}
	p.sortAddressRules()
	p.takesEncodedSlashes = p.anyTakesEncodedSlashes()
	p.passedNames = p.countPassedNames()
	p.names = indexNames(p)
	p.opaque = p.opaquePorts()
	p.inspected = p.opaque.complement()
	p.classes = p.portClasses()
	return p, nil
}

func (p *Plan) compileMITM(mitm *v1alpha1.MITM) error {
	p.addresses = map[netip.Addr]int{}
	if mitm == nil {
		return nil
	}
	p.Domains = make([]Domain, 0, len(mitm.Domains))
	for i, text := range mitm.Domains {
		d, err := v1alpha1.ParseDomain(text)
		if err != nil {
			return fmt.Errorf("%s: %w", indexed(domainsField(), i), err)
		}
		if d.Addr.IsValid() {
			p.addresses[d.Addr] = i
		}
		p.Domains = append(p.Domains, Domain{Domain: d, Index: i})
	}
	for i, text := range mitm.PassthroughDomains {
		host, err := v1alpha1.ParseHost(text)
		if err != nil {
			return fmt.Errorf("%s: %w", indexed(mitmField().Child("passthroughDomains"), i), err)
		}
		p.Passed = append(p.Passed, host)
	}
	return p.compileHeaders(mitm)
}

func (p *Plan) compileHeaders(mitm *v1alpha1.MITM) error {
	if len(mitm.HeaderMutations) == 0 {
		return nil
	}
	byText := make(map[string]int, len(mitm.Domains))
	for i, text := range mitm.Domains {
		byText[text] = i
	}
	for i, m := range mitm.HeaderMutations {
		at, ok := byText[m.Domain]
		if !ok {
			return field.NotFound(mitmField().Child("headerMutations").Index(i).Child("domain"), m.Domain)
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
