package v1alpha1

import (
	"strings"

	"github.com/netproxy/netproxy/api/names"
)

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
	// LabelProbe with value "true" is on probe pods and on their Secrets, so that what an interrupted probe left is found. Probe pods
	// have no LabelPolicy: they are none of the policy's pods.
	LabelProbe = Group + "/probe"
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
	// AnnotationRotateLeaf and AnnotationRotateCA are on a policy: a time in RFC 3339. A certificate that was made before
	// is replaced. A time in the future waits.
	AnnotationRotateLeaf = Group + "/rotate-leaf"
	AnnotationRotateCA   = Group + "/rotate-ca"
	// AnnotationTrusted is on the policy's Secret, and copied to pods at admission: the short fingerprints of the policy's CAs,
	// comma-separated. The pod trusts these, and perhaps younger ones too.
	AnnotationTrusted = Group + "/trusted-cas"
	// AnnotationProbe makes a pod a probe of the policy that it names, as Kind/name, whatever the policy's selectors say. It is fixed
	// when the pod is created, by somebody who may update that policy.
	AnnotationProbe = Group + "/probe"
)

// Annotations of the Secret that holds a rendered policy.
const (
	// AnnotationConfigRevision is the version of listeners, clusters and routes that Envoy shows when it runs them.
	AnnotationConfigRevision = Group + "/config-revision"
	// AnnotationIssuer is the short fingerprint of the CA that signed the leaf.
	AnnotationIssuer = Group + "/issuer"
	// AnnotationPrivateRanges are the organisation's private ranges that the Secret was rendered with, comma-separated.
	AnnotationPrivateRanges = Group + "/private-ranges"
	// AnnotationLeafNotAfter and AnnotationCANotAfter are times in RFC 3339.
	AnnotationLeafNotAfter = Group + "/leaf-not-after"
	AnnotationCANotAfter   = Group + "/ca-not-after"
)

// Finalizer keeps a policy until no pod mounts its Secret.
const Finalizer = Group + "/cleanup"

// Keys and names that users see.
const (
	// CACertKey and CAKeyKey are the keys of a kubernetes.io/tls Secret that caSecretRef names.
	CACertKey = names.CACertKey
	CAKeyKey  = names.CAKeyKey
	// DefaultsConfigMap is the ConfigMap in netproxy's namespace with cluster-wide defaults.
	DefaultsConfigMap = "netproxy-defaults"
	// DefaultsResourcesKey is its key for the sidecar's resources, YAML of Resources.
	DefaultsResourcesKey = "resources"
	// DefaultsPrivateRangesKey is its key for ranges that are private to the organisation although the registries say public: a list
	// of CIDRs in YAML.
	DefaultsPrivateRangesKey = "privateRanges"
)

// ResourceOf is the plural by which the API server knows a kind of policy.
func ResourceOf(kind string) string {
	if kind == KindClusterEgressPolicy {
		return "clusteregresspolicies"
	}
	return "egresspolicies"
}

// BundleKey is the key of the policy's Secret that holds its CAs and the additional ones as PEM. The public roots are not
// in it: they are the same for all, and each pod adds them itself.
const BundleKey = "ca-bundle.crt"

// Prefixes of the names of Secrets that hold rendered policies. Nothing but an injected volume may refer to them.
const (
	secretPrefix        = "netproxy-egp-"
	clusterSecretPrefix = "netproxy-cegp-"
)

// SecretName is the Secret of a policy of the kind, in the namespace of its pods.
func SecretName(kind, policy string) string {
	if kind == KindClusterEgressPolicy {
		return clusterSecretPrefix + policy
	}
	return secretPrefix + policy
}

// IsSecretName says whether a Secret of this name belongs to netproxy.
func IsSecretName(name string) bool {
	return strings.HasPrefix(name, secretPrefix) || strings.HasPrefix(name, clusterSecretPrefix)
}

// ProbePrefix begins the name of every probe pod. The Secret with the probe's configuration has the pod's own name: the prefix keeps
// it apart from all Secrets that others have. 30-fence.yaml has it too, nobody runs commands in pods of such a name.
const ProbePrefix = "netproxy-probe-"

// ProbeLabSecretName is the Secret from which a probe pod takes what it attacks with.
func ProbeLabSecretName(pod string) string { return pod + "-lab" }

// Prefixes of the names of Secrets in netproxy's own namespace that hold the CAs of policies.
const (
	caPrefix        = "netproxy-ca.egp."
	clusterCAPrefix = "netproxy-ca.cegp."
)

// CASecretName is the Secret in netproxy's own namespace with the CA of a policy. namespace is empty for a cluster-wide one.
func CASecretName(namespace, policy string) string {
	if namespace == "" {
		return clusterCAPrefix + policy
	}
	return caPrefix + namespace + "." + policy
}

// PolicyOfCASecret is the policy that CASecretName was given; namespace is empty for a cluster-wide one.
func PolicyOfCASecret(name string) (namespace, policy string, ok bool) {
	if policy, ok = strings.CutPrefix(name, clusterCAPrefix); ok {
		return "", policy, policy != ""
	}
	rest, ok := strings.CutPrefix(name, caPrefix)
	if !ok {
		return "", "", false
	}
	// The name of a namespace has no dot.
	namespace, policy, ok = strings.Cut(rest, ".")
	return namespace, policy, ok && namespace != "" && policy != ""
}

// IsSystemNamespace says whether pods of the namespace are never touched, whatever a policy selects: without them the
// cluster, or netproxy itself, does not run. own is netproxy's namespace.
func IsSystemNamespace(namespace, own string) bool {
	switch namespace {
	case own, "kube-system", "kube-public", "kube-node-lease":
		return true
	}
	return false
}
