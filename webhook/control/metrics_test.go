package control

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestMeters(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMeters(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newMeters(registry); err != nil {
		t.Errorf("a second time: %v", err)
	}
	ref := xds.PolicyRef{Kind: v1alpha1.KindEgressPolicy, Namespace: "demo", Name: "agent"}
	m.set(ref, &v1alpha1.EgressPolicyStatus{
		Pods:         v1alpha1.PodCounts{Selected: 3, Injected: 2, InSync: 1},
		LeafNotAfter: new(metav1.NewTime(time.Unix(1000, 0))),
		Conditions:   []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionFalse}},
	})
	want := map[string]float64{
		"netproxy_policy_pods EgressPolicy demo agent selected": 3, "netproxy_policy_pods EgressPolicy demo agent injected": 2,
		"netproxy_policy_pods EgressPolicy demo agent in_sync": 1, "netproxy_policy_pods EgressPolicy demo agent unprotected": 1,
		"netproxy_policy_condition Ready EgressPolicy demo agent": 1, "netproxy_policy_condition Degraded EgressPolicy demo agent": 0,
		"netproxy_policy_certificate_expiry_timestamp_seconds leaf EgressPolicy demo agent": 1000,
	}
	if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	m.forget(ref)
	if diff := cmp.Diff(map[string]float64{}, gathered(t, registry)); diff != "" {
		t.Errorf("after the policy is gone:\n%s", diff)
	}
}
