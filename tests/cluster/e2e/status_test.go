package e2e

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// policies is where policies of a kind are: those of the test's namespace, or the cluster's.
func (e *env) policies(kind string) dynamic.ResourceInterface {
	if kind == v1alpha1.KindClusterEgressPolicy {
		return e.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("clusteregresspolicies"))
	}
	return e.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("egresspolicies")).Namespace(e.ns)
}

// status is nil if the policy is gone.
func (e *env) status(t *testing.T, kind, name string) *v1alpha1.EgressPolicyStatus {
	t.Helper()
	object, err := e.policies(kind).Get(e.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var policy v1alpha1.EgressPolicy // both kinds have the same status
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
		t.Fatal(err)
	}
	return &policy.Status
}

// says is empty if a condition of the policy has the reason, and a message with the text.
func (e *env) says(t *testing.T, kind, name, condition, reason, message string) string {
	t.Helper()
	status := e.status(t, kind, name)
	if status == nil {
		return "the policy is gone"
	}
	for _, c := range status.Conditions {
		if c.Type == condition && c.Reason == reason && strings.Contains(c.Message, message) {
			return ""
		}
	}
	return fmt.Sprintf("want condition %s with reason %s and %q in its message, got %+v", condition, reason, message, status.Conditions)
}
