package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestMergedResources shows that a request in the policy can be above a default limit, which only merging finds.
func TestMergedResources(t *testing.T) {
	spec := &EgressPolicySpec{MITM: &MITM{Domains: []string{"a.test"}}}
	own := Resources{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
	path := field.NewPath("resources")
	if errs := ValidateResources(&own, path); len(errs) > 0 {
		t.Errorf("alone: %v", errs)
	}
	merged := own.Over(DefaultResources(spec))
	got := ValidateResources(&merged, path).ToAggregate()
	const want = `resources.limits[memory]: Invalid value: "512Mi": below the request of 1Gi; raise the limit or lower the request`
	if got == nil || got.Error() != want {
		t.Errorf("merged: %v, want %s", got, want)
	}
	if diff := cmp.Diff("100m", merged.Requests.Cpu().String()); diff != "" {
		t.Errorf("default of a field that is not set (-want +got):\n%s", diff)
	}
	if _, changed := DefaultResources(spec).Requests[corev1.ResourceEphemeralStorage]; changed {
		t.Error("merging changed the defaults")
	}
}

func TestSetDefaults(t *testing.T) {
	spec := &EgressPolicySpec{Proxy: Proxy{AdminPort: new(int32(16000))}}
	SetDefaults(spec)
	want := Proxy{Port: new(DefaultProxyPort), AdminPort: new(int32(16000))}
	if diff := cmp.Diff(want, spec.Proxy); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRuleName(t *testing.T) {
	if got := RuleName(7, &Rule{}); got != "rule-7" {
		t.Errorf("unnamed: %s", got)
	}
	if got := RuleName(7, &Rule{Name: "own"}); got != "own" {
		t.Errorf("named: %s", got)
	}
}
