package convert

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	strictjson "sigs.k8s.io/json"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/compose"
)

// Options say what the source cannot.
type Options struct {
	// Selector are labels of the pods, instead of what the target says.
	Selector *metav1.LabelSelector
}

// Converted is a policy with what its author should know.
type Converted struct {
	Policy v1alpha1.Policy
	// Title names the source.
	Title string
	Notes []string
	// Origins are field paths of the policy with those of the source.
	Origins compose.Origins
}

// Document converts one policy from JSON. Every field that has no counterpart is in the error. The policy has yet to be
// validated.
func Document(raw []byte, options Options) (*Converted, error) {
	var in source
	strict, err := strictjson.UnmarshalStrict(raw, &in)
	if err != nil {
		return nil, fmt.Errorf("this is no policy of vArmor: %w", err)
	}
	if in.APIVersion != apiVersion || in.Kind != kindPolicy && in.Kind != kindClusterPolicy {
		return nil, fmt.Errorf("apiVersion %q, kind %q: only %s and %s of %s are read", in.APIVersion, in.Kind, kindPolicy, kindClusterPolicy, apiVersion)
	}
	c := &conversion{in: &in, options: options, names: map[string]bool{}, out: &Converted{Title: in.title(), Origins: compose.Origins{}}}
	for _, unknown := range strict {
		c.errs = append(c.errs, fmt.Errorf("%w: netproxy has nothing for it; remove it if the policy can do without", unknown))
	}
	c.run()
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return c.out, nil
}

func (s *source) title() string {
	if s.Metadata.Namespace == "" {
		return s.Kind + " " + s.Metadata.Name
	}
	return s.Kind + " " + s.Metadata.Namespace + "/" + s.Metadata.Name
}

type conversion struct {
	in      *source
	options Options
	out     *Converted
	spec    v1alpha1.EgressPolicySpec
	names   map[string]bool
	errs    []error
}

func (c *conversion) refuse(path *field.Path, text string) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", path, text))
}

func (c *conversion) note(path *field.Path, text string) {
	c.out.Notes = append(c.out.Notes, fmt.Sprintf("%s: %s", path, text))
}

func (c *conversion) run() {
	spec := field.NewPath("spec")
	c.selector(&c.in.Spec.Target, spec.Child("target"))
	if c.in.Spec.UpdateExistingWorkloads {
		c.note(spec.Child("updateExistingWorkloads"), "restart the pods with kubectl netproxy apply --restart")
	}
	policy := spec.Child("policy")
	c.enforcer(policy.Child("enforcer"))
	c.rules(policy)
	c.config(c.in.Spec.Policy.Config, policy.Child("networkProxyConfig"))
	meta := metav1.ObjectMeta{Name: c.in.Metadata.Name, Namespace: c.in.Metadata.Namespace, Labels: c.in.Metadata.Labels}
	if c.in.Kind == kindClusterPolicy {
		meta.Namespace = ""
		c.out.Policy = &v1alpha1.ClusterEgressPolicy{TypeMeta: typeMeta(v1alpha1.KindClusterEgressPolicy), ObjectMeta: meta, Spec: v1alpha1.ClusterEgressPolicySpec{EgressPolicySpec: c.spec}}
		return
	}
	c.out.Policy = &v1alpha1.EgressPolicy{TypeMeta: typeMeta(v1alpha1.KindEgressPolicy), ObjectMeta: meta, Spec: c.spec}
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
}

func (c *conversion) selector(t *target, path *field.Path) {
	if len(t.Containers) > 0 {
		c.refuse(path.Child("containers"), "netproxy protects whole pods: remove it if all containers may be protected")
	}
	switch {
	case c.options.Selector != nil:
		c.spec.PodSelector = *c.options.Selector
	case t.Name != "":
		c.refuse(path.Child("name"), fmt.Sprintf("%q: pods are selected by their labels, not by the name of their %s: give the labels with --selector", t.Name, t.Kind))
	case t.Selector == nil:
		c.refuse(path.Child("selector"), "it selects nothing: give labels of the pods with --selector")
	default:
		c.spec.PodSelector = *t.Selector
		if t.Kind != "Pod" {
			c.note(path.Child("selector"), fmt.Sprintf("selected %ss by their own labels, and now pods by theirs: check that the pods have these labels, or give others with --selector", t.Kind))
		}
	}
}

func (c *conversion) enforcer(path *field.Path) {
	const proxy = "NetworkProxy"
	name := c.in.Spec.Policy.Enforcer
	switch {
	case !strings.Contains(name, proxy):
		c.refuse(path, fmt.Sprintf("%q: the policy does not use %s: there is nothing to convert", name, proxy))
	case name != proxy:
		c.refuse(path, fmt.Sprintf("%q: only %s has a counterpart: leave the others in a policy of vArmor, and convert a copy with enforcer %s", name, proxy, proxy))
	}
}

// rules finds the rules where the mode has them.
func (c *conversion) rules(path *field.Path) {
	p := &c.in.Spec.Policy
	var network *networkRules
	switch p.Mode {
	case "EnhanceProtect":
		path = path.Child("enhanceProtect")
		if e := p.EnhanceProtect; e != nil {
			network = e.Network
			c.others(path, map[string]any{
				"hardeningRules": e.HardeningRules, "attackProtectionRules": e.AttackProtectionRules, "vulMitigationRules": e.VulMitigationRules,
				"appArmorRawRules": e.AppArmorRawRules, "bpfRawRules": e.BpfRawRules, "syscallRawRules": e.SyscallRawRules,
			})
		}
		path = path.Child("networkProxyRawRules", "egress")
	case "DefenseInDepth":
		path = path.Child("defenseInDepth")
		if d := p.DefenseInDepth; d != nil {
			network = d.Network
			c.others(path, map[string]any{"appArmor": d.AppArmor, "seccomp": d.Seccomp})
		}
		path = path.Child("networkProxy", "egress")
	case "AlwaysAllow", "RuntimeDefault":
	default:
		c.refuse(path.Child("mode"), fmt.Sprintf("%q: convert EnhanceProtect, DefenseInDepth, AlwaysAllow or RuntimeDefault; to learn a policy see kubectl netproxy learn --help", p.Mode))
		return
	}
	if network == nil || network.Egress == nil {
		c.spec.Egress.DefaultAction = v1alpha1.ActionAllow
		c.note(path, "there are no rules: everything is allowed, as before")
		return
	}
	c.egress(network.Egress, path)
}

// others are rules of enforcers that the proxy is not.
func (c *conversion) others(path *field.Path, fields map[string]any) {
	for _, name := range sortedKeys(fields) {
		if fields[name] != nil {
			c.refuse(path.Child(name), "netproxy controls the network only: leave it in a policy of vArmor, and convert a copy without it")
		}
	}
}
