package v1alpha1

// Action is a decision about traffic.
//
// +kubebuilder:validation:Enum=Allow;Deny
type Action string

// The actions. A rule without one only records what matches it.
const (
	ActionAllow Action = "Allow"
	ActionDeny  Action = "Deny"
)

// Resolution says which addresses a name of a host rule may have.
//
// +kubebuilder:validation:Enum=Public;Any;Client
type Resolution string

// The resolutions. Loopback, link-local and cloud metadata addresses need a CIDR rule whatever is chosen.
const (
	// ResolutionPublic lets the proxy resolve the name and accepts public addresses only, names of the cluster's own
	// domain excepted. It is meant when nothing is said.
	ResolutionPublic Resolution = "Public"
	// ResolutionAny lets the proxy resolve the name and accepts private addresses too.
	ResolutionAny Resolution = "Any"
	// ResolutionClient keeps the address that the client chose: the name is then what the client claims, no more.
	ResolutionClient Resolution = "Client"
)

// Egress is what may leave: deny rules first, then allow rules, then the default.
type Egress struct {
	// defaultAction decides about traffic that no rule decides about.
	// +required
	DefaultAction Action `json:"defaultAction"`
	// rules are tried deny before allow; their order means nothing.
	// +kubebuilder:validation:MaxItems=5000
	// +listType=atomic
	// +optional
	Rules []Rule `json:"rules,omitempty"`
}

// Rule matches traffic by destination, port and HTTP request. What is left out matches everything; several values of one
// field are alternatives; all fields must match.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.hosts) && has(self.cidrs))",message="hosts and cidrs exclude each other: make two rules"
// +kubebuilder:validation:XValidation:rule="has(self.action) || (has(self.audit) && self.audit)",message="a rule without action needs audit: true, else it does nothing"
// +kubebuilder:validation:XValidation:rule="!has(self.resolution) || has(self.hosts)",message="resolution needs hosts: a cidr is an address already"
type Rule struct {
	// The lists are nullable so that null reaches admission, which refuses it (decode.Policy). The API server would drop it
	// silently, and a list of hosts whose entries are commented out would match everything.

	// name is shown in explain, audit records and denial bodies. A DNS label, unique in the policy; not by-address, default, misdirected, none or trace.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Name string `json:"name,omitempty"`
	// action is Allow or Deny; left out, audit must be true and the rule only records.
	// +optional
	Action Action `json:"action,omitempty"`
	// audit writes a record for each match.
	// +optional
	Audit bool `json:"audit,omitempty"`
	// hosts are names that the client claims (SNI, or Host in plaintext HTTP): exact names, "*.x" for one or more labels
	// below x, "*" for any visible name; or IP literals, which mean the destination address.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^[^\x00-\x20\x7f/@]+$`
	// +listType=atomic
	// +nullable
	// +optional
	Hosts []string `json:"hosts,omitempty"`
	// cidrs are destination addresses, whatever the protocol or the name. A bare address is a /32 or /128.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.]+(/[0-9]{1,3})?$`
	// +listType=atomic
	// +nullable
	// +optional
	CIDRs []string `json:"cidrs,omitempty"`
	// ports are destination ports. None means every port.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +nullable
	// +optional
	Ports []PortRange `json:"ports,omitempty"`
	// resolution says which addresses the names in hosts may have. Public when left out.
	// +optional
	Resolution Resolution `json:"resolution,omitempty"`
	// http matches requests; any entry is enough. HTTP can be seen in plaintext and inside intercepted TLS only: an Allow
	// rule with http never lets anything else through, a Deny rule with http closes it altogether.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +nullable
	// +optional
	HTTP []HTTPMatch `json:"http,omitempty"`
}

// PortRange is one port, or all ports from port to endPort inclusive.
//
// +kubebuilder:validation:XValidation:rule="!has(self.endPort) || self.endPort >= self.port",message="endPort must not be below port: exchange them"
type PortRange struct {
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +required
	Port int32 `json:"port"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	EndPort *int32 `json:"endPort,omitempty"`
}

// HTTPMatch matches a request if one of the methods and one of the paths does. What is left out matches everything.
//
// +kubebuilder:validation:MinProperties=1
type HTTPMatch struct {
	// methods are case-sensitive, as in HTTP. Standard ones are in upper case. CONNECT is never let through.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[-!#$%&'*+.^_|~0-9A-Za-z\x60]+$`
	// +listType=atomic
	// +optional
	Methods []string `json:"methods,omitempty"`
	// paths are compared after normalisation, without the query.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Paths []PathMatch `json:"paths,omitempty"`
	// allowEncodedSlashes lets this entry match requests whose path has an encoded slash or backslash (%2F, %5C). They
	// are refused otherwise, because upstreams disagree about what they mean.
	// +optional
	AllowEncodedSlashes bool `json:"allowEncodedSlashes,omitempty"`
}

// PathMatch has exactly one of prefix and exact.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type PathMatch struct {
	// prefix matches every path that begins with these characters: end it with a slash to stop at a segment.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x20\x7f?#\\]*$`
	// +optional
	Prefix *string `json:"prefix,omitempty"`
	// exact matches this path only.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x20\x7f?#\\]*$`
	// +optional
	Exact *string `json:"exact,omitempty"`
}
