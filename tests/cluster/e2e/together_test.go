package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/webhook/inject"
)

// TestAppliedTogether creates a pod right after the first policy of its namespace, as one kubectl apply does.
func TestAppliedTogether(t *testing.T) {
	for range 5 {
		e := newProtected(t, time.Minute, "tool")
		objects, err := cluster.Parse(`
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec: {egress: {defaultAction: Deny}}
---
` + toolPod("agent", "sleep"))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(e.ctx, e.ns, objects...); err != nil {
			t.Fatal(err)
		}
		pod, err := e.Client.CoreV1().Pods(e.ns).Get(e.ctx, "agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !inject.IsInjected(pod) {
			t.Errorf("%s: the pod was not injected", e.ns)
		}
	}
}
