package v1alpha1

// Ports of the sidecar when the policy names none.
const (
	// DefaultProxyPort takes redirected connections.
	DefaultProxyPort int32 = 15001
	// DefaultAdminPort is the read-only status port.
	DefaultAdminPort int32 = 15000
)

// Bounds that validation holds.
const (
	// MaxDomains is how many domains a policy can intercept, and how many it can pass through.
	MaxDomains = 5000
	// MaxRules is how many rules a policy can have.
	MaxRules = 5000
	// MaxCredentials is how many different credentials (Secret, key, header, prefix) a policy can inject. Each is a file
	// that Envoy watches with an inotify instance of its own; the kernel's default is 128 of them per user and node, and
	// Envoy aborts when they run out.
	MaxCredentials = 64
	// MinProxyUID keeps the proxy's user away from root and system users.
	MinProxyUID int64 = 1024
	// MaxProxyUID is the highest that Kubernetes takes as runAsUser.
	MaxProxyUID int64 = 1<<31 - 1
	// MinProxyPort is the lowest port that needs no privilege.
	MinProxyPort int32 = 1024
)

// Labels.
const (
	// LabelEnabled with value "true" marks a namespace in which admission fails closed.
	LabelEnabled = Group + "/enabled"
	// LabelPolicy and LabelPolicyKind are on injected pods and name the policy that was fixed at creation.
	LabelPolicy     = Group + "/policy"
	LabelPolicyKind = Group + "/policy-kind"
	// LabelManaged with value "true" is on every Secret and ConfigMap that netproxy writes.
	LabelManaged = Group + "/managed"
)

// Annotations.
const (
	// AnnotationRevision is on injected pods: the configuration that they should run. Changing it makes the kubelet refresh
	// the mounted Secret at once.
	AnnotationRevision = Group + "/revision"
	// AnnotationAllowedNamespaces is on a CA Secret of the user's: a comma-separated list of namespaces that may use it, or
	// "*".
	AnnotationAllowedNamespaces = Group + "/allowed-namespaces"
	// AnnotationRestart is on pod templates whose pods netproxy restarted: the time, in RFC 3339.
	AnnotationRestart = Group + "/restarted-at"
)

// Finalizer keeps a policy until no pod mounts its Secret.
const Finalizer = Group + "/cleanup"

// Keys and names that users see.
const (
	// CACertKey and CAKeyKey are the keys of a kubernetes.io/tls Secret that caSecretRef names.
	CACertKey = "tls.crt"
	CAKeyKey  = "tls.key"
	// DefaultsConfigMap is the ConfigMap in netproxy's namespace with cluster-wide defaults.
	DefaultsConfigMap = "netproxy-defaults"
	// DefaultsResourcesKey is its key for the sidecar's resources, YAML of Resources.
	DefaultsResourcesKey = "resources"
)
