package selection

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

func meta(namespace, name string, age time.Duration) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}
}

func namespaced(namespace, name string, age time.Duration, labels map[string]string) v1alpha1.Policy {
	p := &v1alpha1.EgressPolicy{ObjectMeta: meta(namespace, name, age)}
	p.Spec.PodSelector.MatchLabels = labels
	return p
}

func cluster(name string, age time.Duration, namespaces metav1.LabelSelector) v1alpha1.Policy {
	p := &v1alpha1.ClusterEgressPolicy{ObjectMeta: meta("", name, age)}
	p.Spec.NamespaceSelector = namespaces
	return p
}

func TestMatching(t *testing.T) {
	deleted := namespaced("demo", "deleted", 9*time.Hour, nil)
	deleted.SetDeletionTimestamp(new(metav1.Now()))
	policies := []v1alpha1.Policy{
		namespaced("demo", "young", time.Hour, map[string]string{"app": "agent"}),
		namespaced("demo", "b", 2*time.Hour, nil),
		namespaced("demo", "a", 2*time.Hour, nil),
		namespaced("other", "elsewhere", 5*time.Hour, nil),
		namespaced("kube-system", "system", 5*time.Hour, nil),
		deleted,
		cluster("prod", time.Minute, metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"prod"}}}}),
		cluster("all", time.Second, metav1.LabelSelector{}),
	}
	cases := map[string]struct {
		ns   Namespace
		pod  map[string]string
		want []string
	}{
		"all that match":   {Namespace{"demo", nil}, map[string]string{"app": "agent"}, []string{"all", "a", "b", "young"}},
		"another pod":      {Namespace{"demo", nil}, nil, []string{"all", "a", "b"}},
		"namespace labels": {Namespace{"demo", map[string]string{"env": "prod"}}, nil, []string{"prod", "all", "a", "b"}},
		"system":           {Namespace{"kube-system", nil}, nil, nil},
		"own":              {Namespace{"netproxy-system", nil}, nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range Matching(policies, c.ns, "netproxy-system", c.pod) {
				got = append(got, p.GetName())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
		})
	}
}
