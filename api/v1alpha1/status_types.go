package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// EgressPolicyStatus is what is true of a policy and its pods.
type EgressPolicyStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// pods counts the pods that the policy selects.
	// +optional
	Pods PodCounts `json:"pods"`
	// renderedRevision is the revision of the configuration that pods should have.
	// +optional
	RenderedRevision string `json:"renderedRevision,omitempty"`
	// leafNotAfter is when the certificate that intercepted domains show expires.
	// +optional
	LeafNotAfter *metav1.Time `json:"leafNotAfter,omitempty"`
	// caNotAfter is when the policy's CA expires.
	// +optional
	CANotAfter *metav1.Time `json:"caNotAfter,omitempty"`
	// conflicts are policies that select pods of this one, with the one that has them. At most 16 are named.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Conflicts []PolicyConflict `json:"conflicts,omitempty"`
	// rejected is the configuration that an Envoy refused, if there is one.
	// +optional
	Rejected *RejectedConfig `json:"rejected,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PodCounts counts pods of a policy. Selected pods that are not injected were there before the policy.
type PodCounts struct {
	// selected pods match the policy's selectors and are not finished.
	Selected int32 `json:"selected"`
	// injected pods have the sidecar of this policy.
	Injected int32 `json:"injected"`
	// inSync pods run renderedRevision.
	InSync int32 `json:"inSync"`
	// unprotected names pods without a sidecar, as namespace/name. At most 16 are named.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Unprotected []string `json:"unprotected,omitempty"`
}

// PolicyConflict is another policy that selects the same pods.
type PolicyConflict struct {
	Kind string `json:"kind"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// pods is how many pods both select.
	Pods int32 `json:"pods"`
	// wins is true if the other policy goes before this one.
	// +optional
	Wins bool `json:"wins,omitempty"`
}

// RejectedConfig is a revision that an Envoy did not take.
type RejectedConfig struct {
	Revision string `json:"revision"`
	// pod is one that rejected it, as namespace/name.
	Pod string `json:"pod"`
	// reason is Envoy's own.
	// +kubebuilder:validation:MaxLength=4096
	Reason string `json:"reason"`
}
