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

// TrustVariables name a PEM file with all that is trusted, for the runtimes that read one: netproxy sets them in containers, and
// reads what an image says in them.
func TrustVariables() []string {
	return []string{
		"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT",
		"AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
	}
}
