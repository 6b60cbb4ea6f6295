// Package selection says which policy a pod has. It is pure.
package selection

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// RefOf names a policy.
func RefOf(policy v1alpha1.Policy) xds.PolicyRef {
	return xds.PolicyRef{Kind: KindOf(policy), Namespace: policy.GetNamespace(), Name: policy.GetName()}
}

// KindOf is the policy's kind; objects that come out of a cache do not say it.
func KindOf(policy v1alpha1.Policy) string {
	if _, ok := policy.(*v1alpha1.ClusterEgressPolicy); ok {
		return v1alpha1.KindClusterEgressPolicy
	}
	return v1alpha1.KindEgressPolicy
}

// Namespace is what selectors look at.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// SelectsNamespace says whether pods of the namespace can be the policy's. own is netproxy's namespace: like those of the system, it is
// never selected.
func SelectsNamespace(policy v1alpha1.Policy, ns Namespace, own string) bool {
	if v1alpha1.IsSystemNamespace(ns.Name, own) {
		return false
	}
	cluster, ok := policy.(*v1alpha1.ClusterEgressPolicy)
	if !ok {
		return policy.GetNamespace() == ns.Name
	}
	return matches(&cluster.Spec.NamespaceSelector, ns.Labels)
}

// Selects says whether the policy wants the pod, in a namespace that it selects.
func Selects(policy v1alpha1.Policy, podLabels map[string]string) bool {
	return matches(&policy.PolicySpec().PodSelector, podLabels)
}

// matches is false for a selector that admission would have refused.
func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	if len(selector.MatchExpressions) == 0 {
		for key, value := range selector.MatchLabels {
			if have, ok := set[key]; !ok || have != value {
				return false
			}
		}
		return true
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(set))
}

// Compare orders policies: cluster-wide before namespaced, then the oldest, then the name.
func Compare(a, b v1alpha1.Policy) int {
	rank := func(p v1alpha1.Policy) int {
		if KindOf(p) == v1alpha1.KindClusterEgressPolicy {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)),
		a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time),
		cmp.Compare(a.GetName(), b.GetName()))
}

// Matching are the policies that want a pod, the winner first. Policies that are being deleted want no new pod.
func Matching(policies []v1alpha1.Policy, ns Namespace, own string, podLabels map[string]string) []v1alpha1.Policy {
	var out []v1alpha1.Policy
	for _, p := range policies {
		if p.GetDeletionTimestamp() == nil && SelectsNamespace(p, ns, own) && Selects(p, podLabels) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, Compare)
	return out
}
