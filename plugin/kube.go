package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
)

// cluster connects when a verb first needs it: --help and everything with -f go without.
func (s *shell) cluster() (*cluster.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	client, err := cluster.Connect(s.kube, serverWarnings{s})
	if err != nil {
		return nil, err
	}
	s.client = client
	return client, nil
}

// serverWarnings prints the API server's advice like our own.
type serverWarnings struct{ s *shell }

// HandleWarningHeader implements rest.WarningHandler. 299 is the code that the API server uses (RFC 7234, section 5.5).
func (w serverWarnings) HandleWarningHeader(code int, _ string, text string) {
	if code == 299 && text != "" && w.s.advised.first(text) {
		w.s.warn("%s", text)
	}
}

// namespaceFlag is what -n says, empty without it.
func (s *shell) namespaceFlag() string { return s.kube.Namespace() }

// targetKind is what a target names.
type targetKind string

const (
	targetPod           targetKind = "pod"
	targetPolicy        targetKind = v1alpha1.KindEgressPolicy
	targetClusterPolicy targetKind = v1alpha1.KindClusterEgressPolicy
	// targetAnyPolicy is a bare name: the namespaced policy, else the cluster-wide one.
	targetAnyPolicy targetKind = "policy"
)

// target is an argument such as agent, policy/agent, cegp/base or pod/web-0.
type target struct {
	kind targetKind
	name string
}

func (t target) String() string { return string(t.kind) + "/" + t.name }

// parseTarget reads a target. Kinds are written as kubectl takes them.
func parseTarget(text string) (target, error) {
	kind, name, typed := strings.Cut(text, "/")
	if !typed {
		kind, name = "", text
	}
	if name == "" || typed && kind == "" || strings.ContainsAny(name, "/:") {
		return target{}, fmt.Errorf("%q: write the name of a policy, or policy/NAME, cegp/NAME or pod/NAME", text)
	}
	switch strings.ToLower(strings.TrimSuffix(kind, "."+v1alpha1.Group)) {
	case "":
		return target{targetAnyPolicy, name}, nil
	case "policy", "egp", "egresspolicy", "egresspolicies":
		return target{targetPolicy, name}, nil
	case "cegp", "clusterpolicy", "clusteregresspolicy", "clusteregresspolicies":
		return target{targetClusterPolicy, name}, nil
	case "pod", "pods", "po":
		return target{targetPod, name}, nil
	}
	return target{}, fmt.Errorf("%q: kind %q is not known here: write policy/NAME, cegp/NAME or pod/NAME", text, kind)
}

// policy reads the policy that a target names.
func (t target) policy(ctx context.Context, client *cluster.Client) (v1alpha1.Policy, error) {
	switch t.kind {
	case targetPod:
		return nil, fmt.Errorf("%s: a policy is needed here: write its name, or policy/NAME or cegp/NAME", t)
	case targetAnyPolicy:
		found, err := client.Policy(ctx, v1alpha1.KindEgressPolicy, client.Namespace, t.name)
		if !cluster.IsNotFound(err) {
			return found, err
		}
		found, err = client.Policy(ctx, v1alpha1.KindClusterEgressPolicy, "", t.name)
		if cluster.IsNotFound(err) {
			return nil, fmt.Errorf("there is no policy %s in namespace %s, and no cluster-wide one: see kubectl netproxy get -A", t.name, client.Namespace)
		}
		return found, err
	}
	found, err := client.Policy(ctx, string(t.kind), client.Namespace, t.name)
	if cluster.IsNotFound(err) {
		return nil, fmt.Errorf("%w: see kubectl netproxy get -A", err)
	}
	return found, err
}

// onePolicyArgument takes the name of one policy.
func onePolicyArgument(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("which policy? write its name, for example %s agent\nSee '%s --help' for usage", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// policyTitle names a policy for people, such as EgressPolicy demo/agent.
func policyTitle(p v1alpha1.Policy) string { return identity(kindOf(p), p.GetNamespace(), p.GetName()) }
