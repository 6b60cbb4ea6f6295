package e2e

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/tests/cluster"
)

// protect applies policies, and what belongs to them, in the test's namespace. Upstreams of the world are trusted. It waits
// until the policies are ready.
func (e *env) protect(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	objects, err := cluster.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var policy *unstructured.Unstructured
	for _, o := range objects {
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
		if o.GetKind() == "EgressPolicy" {
			policy = o
			trustWorld(t, o)
		}
		if err := e.Apply(e.ctx, e.ns, o); err != nil {
			t.Fatal(err)
		}
	}
	if policy == nil {
		t.Fatal("there is no policy to wait for")
	}
	e.policyReady(t, policy)
	return policy
}

func trustWorld(t *testing.T, policy *unstructured.Unstructured) {
	t.Helper()
	cas, _, err := unstructured.NestedSlice(policy.Object, "spec", "trust", "additionalCAs")
	if err != nil {
		t.Fatal(err)
	}
	cas = append(cas, map[string]any{"configMapRef": map[string]any{"name": "world-ca", "key": "ca.crt"}})
	if err := unstructured.SetNestedSlice(policy.Object, cas, "spec", "trust", "additionalCAs"); err != nil {
		t.Fatal(err)
	}
}

// policyReady waits for the condition Ready of this generation.
func (e *env) policyReady(t *testing.T, policy *unstructured.Unstructured) {
	t.Helper()
	e.eventually(t, 30*time.Second, func() string {
		now, err := e.Get(e.ctx, policy, e.ns)
		if err != nil {
			return err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
		for _, c := range conditions {
			c, _ := c.(map[string]any)
			if c["type"] == "Ready" && c["status"] == "True" && c["observedGeneration"] == now.GetGeneration() {
				return ""
			}
		}
		return fmt.Sprintf("policy %s is not ready: %v", policy.GetName(), now.Object["status"])
	})
}
