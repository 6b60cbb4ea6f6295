package cluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// TestIntent: what somebody writes back into the cluster has nothing in it that netproxy or the API server wrote.
func TestIntent(t *testing.T) {
	for _, c := range []struct {
		name       string
		finalizers []string
		want       string
	}{
		{"netproxy's finalizer", []string{v1alpha1.Finalizer}, `"name":"agent","namespace":"demo"`},
		{"none", nil, `"name":"agent","namespace":"demo"`},
		{"somebody else's too", []string{"example.com/keep", v1alpha1.Finalizer}, `"finalizers":["example.com/keep"],"name":"agent","namespace":"demo"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy := &v1alpha1.EgressPolicy{ObjectMeta: metav1.ObjectMeta{
				Name: "agent", Namespace: "demo", UID: "1", ResourceVersion: "2", CreationTimestamp: metav1.NewTime(time.Unix(1, 0)), Finalizers: c.finalizers,
			}}
			policy.Spec.Egress.DefaultAction, policy.Status.RenderedRevision = v1alpha1.ActionDeny, "3"
			got, err := Intent(policy)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"apiVersion":"netproxy.dev/v1alpha1","kind":"EgressPolicy","metadata":{` + c.want + `},"spec":{"egress":{"defaultAction":"Deny"}}}`
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
