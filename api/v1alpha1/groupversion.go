package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group and Version name the API, the Kind constants its policies as they stand in a document's "kind".
const (
	Group   = "netproxy.dev"
	Version = "v1alpha1"

	KindEgressPolicy        = "EgressPolicy"
	KindClusterEgressPolicy = "ClusterEgressPolicy"
)

// GroupVersion is netproxy.dev/v1alpha1.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version}

// Resource qualifies a plural resource name with the group, for errors and REST mappings.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

// AddToScheme registers the policy kinds and their lists.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&EgressPolicy{}, &EgressPolicyList{},
		&ClusterEgressPolicy{}, &ClusterEgressPolicyList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
