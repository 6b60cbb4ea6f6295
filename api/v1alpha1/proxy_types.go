package v1alpha1

import corev1 "k8s.io/api/core/v1"

// Trust is what workload and proxy trust besides the public roots.
type Trust struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	AdditionalCAs []CASource `json:"additionalCAs,omitempty"`
}

// CASource is PEM in the workload's namespace: a key of a ConfigMap or of a Secret.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.secretRef)",message="exactly one of configMapRef and secretRef is needed"
type CASource struct {
	// +optional
	ConfigMapRef *ConfigMapKeyRef `json:"configMapRef,omitempty"`
	// +optional
	SecretRef *SecretKeyRef `json:"secretRef,omitempty"`
}

// ConfigMapKeyRef names one value of a ConfigMap.
type ConfigMapKeyRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +required
	Key string `json:"key"`
}

// Proxy sets up the sidecar.
//
// +kubebuilder:validation:XValidation:rule="!has(self.port) || !has(self.adminPort) || self.port != self.adminPort",message="port and adminPort must differ"
type Proxy struct {
	// resources override single defaults of the sidecar.
	// +optional
	Resources Resources `json:"resources,omitzero"`
	// uid is the proxy's user. Left out, each pod gets its own from a high range, which no image can know.
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	UID *int64 `json:"uid,omitempty"`
	// port is where redirected connections arrive.
	// +kubebuilder:default=15001
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int32 `json:"port,omitempty"`
	// adminPort is the read-only status port. Envoy's own admin is never on TCP.
	// +kubebuilder:default=15000
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +optional
	AdminPort *int32 `json:"adminPort,omitempty"`
	// allowUserChange lets application containers keep SETUID and SETGID, for servers that start as root and change
	// their user. The policy is then Weakened: root in such a container can become the proxy's user.
	// +optional
	AllowUserChange bool `json:"allowUserChange,omitempty"`
}

// Resources are the requests and limits of the sidecar.
type Resources struct {
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}
