package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// TestNodePod: a node is tried with the rights of the init container, no more and no less, and nothing of the API server's.
func TestNodePod(t *testing.T) {
	pod := NodePod("netproxy-check-x", "demo", "init:1")
	in := Inputs{Images: Images{Init: "init:1"}, UID: MinPodUID, Spec: &v1alpha1.EgressPolicySpec{}}
	if diff := cmp.Diff(captureContainer(&in, trust{}).SecurityContext, pod.Spec.Containers[0].SecurityContext); diff != "" {
		t.Errorf("rights (-capture +node):\n%s", diff)
	}
	if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token || pod.Spec.ActiveDeadlineSeconds == nil || len(pod.Spec.Volumes) > 0 {
		t.Errorf("%+v", pod.Spec)
	}
}
