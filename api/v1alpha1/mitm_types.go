package v1alpha1

// MITM is interception: the proxy terminates the TLS of the named domains with a certificate of the policy's own CA.
type MITM struct {
	// domains are names, wildcards that stand for one label ("*.github.com"), addresses, /32 and /128; nothing wider.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^[^\x00-\x20\x7f@]+$`
	// +listType=set
	// +required
	Domains []string `json:"domains,omitempty"`
	// passthroughDomains are never decrypted, even inside a wildcard of domains. They have the depth of hosts and still
	// need a rule that allows them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^[^\x00-\x20\x7f/@]+$`
	// +listType=set
	// +optional
	PassthroughDomains []string `json:"passthroughDomains,omitempty"`
	// caSecretRef names a kubernetes.io/tls Secret in netproxy's own namespace. Left out, a CA is generated.
	// +optional
	CASecretRef *SecretRef `json:"caSecretRef,omitempty"`
	// headerMutations are headers that the proxy sets on requests to intercepted domains.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +listType=atomic
	// +optional
	HeaderMutations []HeaderMutation `json:"headerMutations,omitempty"`
}

// HeaderMutation sets headers on requests to one intercepted domain.
type HeaderMutation struct {
	// domain is literally one of mitm.domains.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +required
	Domain string `json:"domain"`
	// headers replace what the client sent under these names.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +required
	Headers []Header `json:"headers,omitempty"`
}

// Header is one header with a literal value or one from a Secret.
//
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretRef)",message="exactly one of value and secretRef is needed"
// +kubebuilder:validation:XValidation:rule="!has(self.prefix) || has(self.secretRef)",message="prefix goes with secretRef: write it into value"
type Header struct {
	// name is compared without case.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[-!#$%&'*+.^_|~0-9A-Za-z\x60]+$`
	// +required
	Name string `json:"name"`
	// value is sent as it stands.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	// +kubebuilder:validation:Pattern=`^[^\x00-\x08\x0a-\x1f\x7f]+$`
	// +optional
	Value *string `json:"value,omitempty"`
	// secretRef names a key of a Secret in the workload's namespace. While it is missing or empty, requests get 401.
	// +optional
	SecretRef *SecretKeyRef `json:"secretRef,omitempty"`
	// prefix stands before the Secret's value, such as "Bearer ".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^\x00-\x08\x0a-\x1f\x7f]+$`
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// SecretRef names a Secret.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// SecretKeyRef names one value of a Secret.
type SecretKeyRef struct {
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
