package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
)

func secretObject(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	objects, err := cluster.Parse("apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\n")
	if err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

const namespacedPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: %s}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress: {defaultAction: Deny}
`

// TestConflicts: of policies that select the same pods one wins, for a pod the one that won when it was created, and all say so.
func TestConflicts(t *testing.T) {
	w := newTeam(t)
	w.protect(t, fmt.Sprintf(namespacedPolicy, "older"))
	time.Sleep(1100 * time.Millisecond) // ages are in seconds
	w.protect(t, fmt.Sprintf(namespacedPolicy, "a-younger"))
	w.apply(t, toolPod("agent", "sleep"))
	w.policyOf(t, "agent", "older")
	w.eventually(t, arrives, func() string {
		return w.says(t, "EgressPolicy", "older", v1alpha1.ConditionConflict, v1alpha1.ReasonWinsOverOthers, "a-younger") +
			w.says(t, "EgressPolicy", "a-younger", v1alpha1.ConditionConflict, v1alpha1.ReasonOtherPolicyWins, "older") +
			w.says(t, "EgressPolicy", "a-younger", v1alpha1.ConditionReady, v1alpha1.ReasonNothingSelected, "")
	})

	w.join(t, w.env)
	w.apply(t, fmt.Sprintf(widePolicy, w.name))
	w.ready(t)
	w.eventually(t, arrives, func() string {
		return w.says(t, wideKind, w.name, v1alpha1.ConditionConflict, v1alpha1.ReasonWinsOverOthers, "older") +
			w.says(t, "EgressPolicy", "older", v1alpha1.ConditionConflict, v1alpha1.ReasonOtherPolicyWins, w.name)
	})
	w.policyOf(t, "agent", "older") // fixed when it was created
	w.apply(t, strings.Replace(toolPod("next", "sleep"), "app: next", "app: agent", 1))
	w.policyOf(t, "next", w.name)
	w.eventually(t, arrives, func() string {
		var counts []int32
		for _, p := range []struct{ kind, name string }{{wideKind, w.name}, {"EgressPolicy", "older"}, {"EgressPolicy", "a-younger"}} {
			pods := w.status(t, p.kind, p.name).Pods
			counts = append(counts, pods.Selected, pods.Injected)
		}
		return cmp.Diff([]int32{1, 1, 1, 1, 0, 0}, counts)
	})
	// The namespaced policy goes: its pod keeps it, and the pod's Secret stays.
	if err := w.policies("EgressPolicy").Delete(w.ctx, "older", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, arrives, func() string {
		return w.says(t, "EgressPolicy", "older", v1alpha1.ConditionReady, v1alpha1.ReasonTerminating, "")
	})
	if s := w.secret("EgressPolicy", "older"); s != "there" {
		t.Errorf("a pod runs, and the Secret is %s", s)
	}
	w.deletePod(t, "agent")
	w.eventually(t, 30*time.Second, func() string {
		if w.status(t, "EgressPolicy", "older") != nil || w.secret("EgressPolicy", "older") != "gone" {
			return "the policy or its Secret is there still"
		}
		return ""
	})
	w.env.gets(t, "next", "Bearer sk-"+w.ns)
}

// policyOf waits for a pod, and looks which policy it is under.
func (w *team) policyOf(t *testing.T, pod, policy string) {
	t.Helper()
	if got := w.env.ready(t, pod).Labels[v1alpha1.LabelPolicy]; got != policy {
		t.Errorf("pod %s is under %q, want %q", pod, got, policy)
	}
}

// TestNothingSelected: policies without pods say so.
func TestNothingSelected(t *testing.T) {
	e := newProtected(t, 2*time.Minute, "tool")
	e.protect(t, fmt.Sprintf(namespacedPolicy, "nobody"))
	e.eventually(t, arrives, func() string {
		return e.says(t, "EgressPolicy", "nobody", v1alpha1.ConditionReady, v1alpha1.ReasonNothingSelected, "app=agent")
	})
	system := &env{e.Cluster, e.ctx, "kube-system"}
	system.apply(t, fmt.Sprintf(namespacedPolicy, e.ns))
	t.Cleanup(func() {
		_, _ = e.Kubectl(e.ctx, "-n", "kube-system", "delete", "egresspolicy", e.ns, "--wait=false")
	})
	e.eventually(t, arrives, func() string {
		return system.says(t, "EgressPolicy", e.ns, v1alpha1.ConditionReady, v1alpha1.ReasonNothingSelected, "belongs to the system")
	})
	if system.enabled(t) || system.secret("EgressPolicy", e.ns) != "gone" {
		t.Errorf("kube-system has the label (%t) or a Secret (%s)", system.enabled(t), system.secret("EgressPolicy", e.ns))
	}
}
