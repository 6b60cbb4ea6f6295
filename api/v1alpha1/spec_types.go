package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// EgressPolicySpec is what a policy asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.proxy) || !has(oldSelf.proxy.port) || (has(self.proxy) && has(self.proxy.port) && self.proxy.port == oldSelf.proxy.port)",message="proxy.port cannot change once set: running pods redirect to it; make a new policy"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.proxy) || !has(oldSelf.proxy.adminPort) || (has(self.proxy) && has(self.proxy.adminPort) && self.proxy.adminPort == oldSelf.proxy.adminPort)",message="proxy.adminPort cannot change once set: running pods are probed on it; make a new policy"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.proxy) || !has(oldSelf.proxy.uid) || (has(self.proxy) && has(self.proxy.uid) && self.proxy.uid == oldSelf.proxy.uid)",message="proxy.uid cannot change or be removed once set: running pods let this user out; make a new policy"
type EgressPolicySpec struct {
	// podSelector selects the pods of the namespace. Empty or left out it selects all of them, as in NetworkPolicy.
	// +optional
	PodSelector metav1.LabelSelector `json:"podSelector,omitzero"`
	// egress says what the selected pods may reach.
	// +required
	Egress Egress `json:"egress"`
	// mitm names the domains whose TLS is terminated by the proxy, and what is injected there. Left out, no TLS is
	// decrypted.
	// +optional
	MITM *MITM `json:"mitm,omitempty"`
	// trust adds private CAs to the public roots.
	// +optional
	Trust Trust `json:"trust,omitzero"`
	// proxy sets up the sidecar.
	// +kubebuilder:default={}
	// +optional
	Proxy Proxy `json:"proxy,omitzero"`
}

// ClusterEgressPolicySpec is an EgressPolicySpec for many namespaces. A secretRef or configMapRef in it is resolved in
// the namespace of each pod.
type ClusterEgressPolicySpec struct {
	EgressPolicySpec `json:",inline"`
	// namespaceSelector selects the namespaces. Empty or left out it selects all of them.
	// +optional
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector,omitzero"`
}
