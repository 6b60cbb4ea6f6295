package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/xds"
)

// policyOptions choose one policy from files.
type policyOptions struct {
	Filenames []string
	Name      string
	// Namespace is the workload's: for objects that name none, and for cluster-wide policies. load takes -n.
	Namespace string
	rangeOptions
}

func (o *policyOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVarP(&o.Filenames, "filename", "f", nil, "file or directory with the policy, and the Secrets and ConfigMaps that it refers to; - is standard input (repeatable)")
	flags.StringVar(&o.Name, "name", "", "the policy to take, if there are several")
	o.addRangeFlag(flags)
}

func (o *policyOptions) validate() error {
	if len(o.Filenames) == 0 {
		return errors.New("no policy: name a file with -f, for example -f policy.yaml")
	}
	stdin := 0
	for _, name := range o.Filenames {
		if name == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("-f - is given twice: standard input can be read once")
	}
	return nil
}

// chosen is a policy that is valid, compiled, and comes with what it refers to.
type chosen struct {
	objects
	policy v1alpha1.Policy
	spec   *v1alpha1.EgressPolicySpec
	// namespace is the workload's; empty for a cluster-wide policy without -n.
	namespace string
	private   []netip.Prefix
	plan      *xds.Plan
	// advice is what validation says about a policy that is valid.
	advice []v1alpha1.Warning
}

// warn prints the advice.
func (c *chosen) warn(s *shell) {
	for _, w := range c.advice {
		if s.advised.first(w.String()) {
			s.warn("%s", w)
		}
	}
}

// load reads, chooses, validates and compiles.
func (o *policyOptions) load(s *shell) (*chosen, error) {
	o.Namespace = cmp.Or(o.Namespace, s.namespaceFlag())
	all, err := readObjects(s.In, o.Filenames)
	if err != nil {
		return nil, err
	}
	policy, err := o.choose(all)
	if err != nil {
		return nil, err
	}
	ranges, err := o.given()
	if err != nil {
		return nil, err
	}
	return compile(all, policy, o.namespaceOf(policy), ranges)
}

// fromCluster compiles a policy as the cluster does.
func (o *policyOptions) fromCluster(ctx context.Context, s *shell, client *cluster.Client, policy v1alpha1.Policy, namespace string) (*chosen, error) {
	ranges, err := o.ranges(ctx, s, client)
	if err != nil {
		return nil, err
	}
	return compile(objects{where: "the cluster"}, policy, namespace, ranges)
}

// compile judges and compiles one policy. private are the ranges that count as private besides the built-in ones.
func compile(all objects, policy v1alpha1.Policy, namespace string, private []netip.Prefix) (*chosen, error) {
	c := &chosen{objects: all, policy: policy, spec: policy.PolicySpec(), namespace: namespace, private: private}
	var err error
	var errs field.ErrorList
	c.advice, errs = v1alpha1.ValidatePolicy(policy)
	if len(errs) > 0 {
		heading := fmt.Sprintf("%s in %s is invalid", c.title(), all.where)
		return nil, listOf(heading, errors.Join(asErrors(errs)...))
	}
	v1alpha1.SetDefaults(c.spec)
	c.plan, err = xds.Compile(c.ref(), c.spec, private...)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", c.title(), err)
	}
	return c, nil
}

func asErrors[E error](list []E) []error {
	out := make([]error, len(list))
	for i, err := range list {
		out[i] = err
	}
	return out
}

func (o *policyOptions) choose(all objects) (v1alpha1.Policy, error) {
	var found []v1alpha1.Policy
	var names []string
	for _, p := range all.Policies {
		names = append(names, identity(kindOf(p), p.GetNamespace(), p.GetName()))
		if (o.Name == "" || o.Name == p.GetName()) && sameNamespace(o.Namespace, p.GetNamespace()) {
			found = append(found, p)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("several policies in %s (%s): choose one with --name and -n", all.where, strings.Join(names, ", "))
	case len(names) > 0:
		return nil, fmt.Errorf("no policy in %s has that name and namespace; there is %s", all.where, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no %s and no %s in %s", v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy, all.where)
}

func kindOf(p v1alpha1.Policy) string {
	if _, ok := p.(*v1alpha1.ClusterEgressPolicy); ok {
		return v1alpha1.KindClusterEgressPolicy
	}
	return v1alpha1.KindEgressPolicy
}

// namespaceOf is "default" where kubectl would take it too.
func (o *policyOptions) namespaceOf(p v1alpha1.Policy) string {
	switch {
	case p.GetNamespace() != "":
		return p.GetNamespace()
	case o.Namespace != "" || kindOf(p) == v1alpha1.KindClusterEgressPolicy:
		return o.Namespace
	}
	return "default"
}

func (c *chosen) ref() xds.PolicyRef {
	ref := xds.PolicyRef{Kind: kindOf(c.policy), Name: c.policy.GetName()}
	if ref.Kind == v1alpha1.KindEgressPolicy {
		ref.Namespace = c.namespace
	}
	return ref
}

func (c *chosen) title() string {
	ref := c.ref()
	return identity(ref.Kind, ref.Namespace, ref.Name)
}
