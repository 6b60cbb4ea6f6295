package compose

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Request is what the flags say.
type Request struct {
	Name              string
	Namespace         string
	Scope             Scope
	Selector          string
	NamespaceSelector string
	Default           string
	Allow, Deny       []string
	MITM, Passthrough []string
	Headers           []string
	Resolution        string
	Audit             Audit
}

// Scope is the kind of policy.
type Scope string

// Audit is what is recorded besides denials.
type Audit string

// The values.
const (
	Namespaced  Scope = "namespaced"
	ClusterWide Scope = "cluster"

	AuditDenied Audit = "denied"
	AuditRules  Audit = "rules"
	AuditAll    Audit = "all"
)

// Composed is a policy that knows which flag each part comes from.
type Composed struct {
	Policy v1alpha1.Policy
	// Origins are field paths with the flags behind them.
	Origins Origins
}

// flagError names the flag and the value.
func flagError(flag, value string, err error) error {
	return fmt.Errorf("--%s %q: %w", flag, value, err)
}

// Compose makes the policy. Every flag that cannot be read is in the error. What it returns has yet to be validated.
func Compose(r Request) (*Composed, error) {
	c := &Composed{Origins: Origins{}}
	spec, errs := &v1alpha1.EgressPolicySpec{}, []error{}
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	keep(selector("selector", r.Selector, &spec.PodSelector))
	keep(defaultAction(r.Default, &spec.Egress))
	b := &ruleBuilder{composed: c, mitm: r.MITM, names: map[string]bool{}}
	keep(b.add("deny", v1alpha1.ActionDeny, r.Deny))
	keep(b.add("allow", v1alpha1.ActionAllow, r.Allow))
	keep(b.resolution(r.Resolution))
	keep(b.audit(r.Audit))
	spec.Egress.Rules = b.rules
	keep(c.interception(spec, r))
	var namespaces metav1.LabelSelector
	keep(selector("namespace-selector", r.NamespaceSelector, &namespaces))
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.Policy = policy(r, spec, namespaces)
	return c, nil
}

func policy(r Request, spec *v1alpha1.EgressPolicySpec, namespaces metav1.LabelSelector) v1alpha1.Policy {
	meta := metav1.ObjectMeta{Name: r.Name, Namespace: r.Namespace}
	if r.Scope == ClusterWide {
		meta.Namespace = ""
		return &v1alpha1.ClusterEgressPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindClusterEgressPolicy},
			ObjectMeta: meta, Spec: v1alpha1.ClusterEgressPolicySpec{EgressPolicySpec: *spec, NamespaceSelector: namespaces},
		}
	}
	return &v1alpha1.EgressPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindEgressPolicy},
		ObjectMeta: meta, Spec: *spec,
	}
}

func selector(flag, text string, into *metav1.LabelSelector) error {
	parsed, err := metav1.ParseToLabelSelector(text)
	if err != nil {
		return flagError(flag, text, fmt.Errorf("%w; write labels such as app=agent,tier=db", err))
	}
	*into = *parsed
	return nil
}

func defaultAction(text string, egress *v1alpha1.Egress) error {
	switch strings.ToLower(text) {
	case "deny":
		egress.DefaultAction = v1alpha1.ActionDeny
	case "allow":
		egress.DefaultAction = v1alpha1.ActionAllow
	default:
		return flagError("default", text, errors.New("write deny or allow"))
	}
	return nil
}

func (c *Composed) from(path, flag, value string) {
	if have := c.Origins[path]; have != "" {
		c.Origins[path] = have + ", --" + flag + " " + strconv.Quote(value)
		return
	}
	c.Origins[path] = "--" + flag + " " + strconv.Quote(value)
}
