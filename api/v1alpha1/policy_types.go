package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Policy is what both kinds have in common.
//
// +kubebuilder:object:generate=false
type Policy interface {
	metav1.Object
	runtime.Object
	// PolicySpec is the part of the spec that both kinds share. Never nil.
	PolicySpec() *EgressPolicySpec
	// PolicyStatus is the status that both kinds share. Never nil.
	PolicyStatus() *EgressPolicyStatus
}

// EgressPolicy controls what the selected pods of its namespace may reach.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=egresspolicies,shortName=egp,categories=netproxy
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.spec.egress.defaultAction`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.pods.selected`
// +kubebuilder:printcolumn:name="InSync",type=integer,JSONPath=`.status.pods.inSync`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.renderedRevision`,priority=1
// +kubebuilder:printcolumn:name="Leaf-Expiry",type=string,JSONPath=`.status.leafNotAfter`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must have at most 63 characters: it becomes a label of the pods"
type EgressPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec EgressPolicySpec `json:"spec"`
	// +optional
	Status EgressPolicyStatus `json:"status,omitzero"`
}

// EgressPolicyList is a list of namespaced policies.
//
// +kubebuilder:object:root=true
type EgressPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressPolicy `json:"items"`
}

// ClusterEgressPolicy controls what the selected pods of the selected namespaces may reach. It goes before
// EgressPolicies that select the same pod.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clusteregresspolicies,scope=Cluster,shortName=cegp,categories=netproxy
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.spec.egress.defaultAction`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.pods.selected`
// +kubebuilder:printcolumn:name="InSync",type=integer,JSONPath=`.status.pods.inSync`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.renderedRevision`,priority=1
// +kubebuilder:printcolumn:name="Leaf-Expiry",type=string,JSONPath=`.status.leafNotAfter`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must have at most 63 characters: it becomes a label of the pods"
type ClusterEgressPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ClusterEgressPolicySpec `json:"spec"`
	// +optional
	Status EgressPolicyStatus `json:"status,omitzero"`
}

// ClusterEgressPolicyList is a list of cluster-wide policies.
//
// +kubebuilder:object:root=true
type ClusterEgressPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterEgressPolicy `json:"items"`
}

// PolicySpec implements Policy.
func (p *EgressPolicy) PolicySpec() *EgressPolicySpec { return &p.Spec }

// PolicyStatus implements Policy.
func (p *EgressPolicy) PolicyStatus() *EgressPolicyStatus { return &p.Status }

// PolicySpec implements Policy.
func (p *ClusterEgressPolicy) PolicySpec() *EgressPolicySpec { return &p.Spec.EgressPolicySpec }

// PolicyStatus implements Policy.
func (p *ClusterEgressPolicy) PolicyStatus() *EgressPolicyStatus { return &p.Status }
