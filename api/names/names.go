// Package names has the names that several parts of netproxy share with the init container, which must not link the types
// of the Kubernetes API for them.
package names

// CACertKey and CAKeyKey are the keys of a kubernetes.io/tls Secret that holds a CA.
const (
	CACertKey = "tls.crt"
	CAKeyKey  = "tls.key"
)

// What netproxy-init writes. A slot is the directory of one image, RootsDir that of the proxy; both are below --trust-root.
const (
	// RootsDir has a BundleFile with the public roots alone, for the proxy.
	RootsDir = "roots"
	// BundleFile is everything that is trusted, in PEM.
	BundleFile = "ca-certificates.crt"
	// TrustStoreFile is the same for Java.
	TrustStoreFile = "cacerts.jks"
	// InitBinary is the name of the program's copy below --share.
	InitBinary = "netproxy-init"
	// ResolvConf and Hosts are the copies below --dns.
	ResolvConf = "resolv.conf"
	Hosts      = "hosts"
)
