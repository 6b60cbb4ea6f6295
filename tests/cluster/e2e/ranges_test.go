package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
)

const rangePolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress: {defaultAction: Deny, rules: [{name: intranet, action: Allow, hosts: [intranet.ranges.example]}]}
`

// TestPrivateRanges: what the organisation counts as private is closed to names in running pods, and stays so while the list is broken.
func TestPrivateRanges(t *testing.T) {
	e := newProtected(t, 4*time.Minute, "tool")
	e.name(t, "intranet.ranges.example", netip.MustParseAddr("25.77.1.2"))
	policy := e.protect(t, rangePolicy)
	e.apply(t, toolPod("agent", "sleep"))
	e.ready(t, "agent")
	get := func(want string) {
		t.Helper()
		e.eventually(t, arrives, func() string {
			if out := e.run(t, "agent", "/tool", "get", "http://intranet.ranges.example/"); !strings.Contains(out.Stdout, want) {
				return out.String()
			}
			return ""
		})
	}
	get("status: 200")
	defaults := e.defaults(t)
	defaults("[25.77.0.0/16]")
	get("status: 503")
	p := newPlugin(t, e)
	p.want(t, 0, "", []string{"✗ DENIED", "the name resolves to no address that the rule accepts"}, "explain", "agent", "http://intranet.ranges.example/", "--resolved", "25.77.1.2")
	p.want(t, 0, "", []string{"✓ pod " + e.ns + "/agent runs what this policy renders", "25.77.0.0/16"}, "explain", "pod/agent")

	defaults("[25.77.0.0/99]")
	e.degraded(t, policy, v1alpha1.ReasonDefaultsInvalid)
	get("status: 503")
	p.want(t, 2, "", []string{"NP011", "25.77.0.0/99"}, "check")
	e.apply(t, strings.NewReplacer("name: agent", "name: late", "app: agent", "app: late").Replace(rangePolicy))
	e.eventually(t, arrives, func() string {
		late := policy.DeepCopy()
		late.SetName("late")
		return lacks(e, late, "Ready", v1alpha1.ReasonDefaultsInvalid)
	})
	defaults("[]")
	get("status: 200")
	e.degraded(t, policy, v1alpha1.ReasonNone)
}

// defaults sets the cluster's private ranges, and takes the ConfigMap away with the test.
func (e *env) defaults(t *testing.T) func(ranges string) {
	t.Helper()
	text := func(ranges string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: netproxy-defaults, namespace: netproxy-system}\ndata: {privateRanges: \"" + ranges + "\"}\n"
	}
	t.Cleanup(func() {
		objects, err := cluster.Parse(text(""))
		if err == nil {
			err = e.Delete(e.ctx, "netproxy-system", objects...)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return func(ranges string) {
		t.Helper()
		if err := e.ApplyText(e.ctx, "netproxy-system", text(ranges)); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *env) degraded(t *testing.T, policy *unstructured.Unstructured, reason string) {
	t.Helper()
	e.eventually(t, arrives, func() string { return lacks(e, policy, "Degraded", reason) })
}

// lacks says what a policy's conditions are, if the one of that type has another reason.
func lacks(e *env, policy *unstructured.Unstructured, kind, reason string) string {
	now, err := e.Get(e.ctx, policy, e.ns)
	if err != nil {
		return err.Error()
	}
	conditions, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c["type"] == kind && c["reason"] == reason {
			return ""
		}
	}
	return policy.GetName() + ": " + textOf(now)
}

func textOf(object *unstructured.Unstructured) string {
	data, err := object.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(data)
}
