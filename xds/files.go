package xds

import (
	"fmt"
	"net/netip"
	"path"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/netproxy/netproxy/api/names"
)

// SecretText is a value that must not be printed.
type SecretText []byte

// String hides the value, as GoString, MarshalJSON and Format do: no formatter shows it.
func (SecretText) String() string { return "[redacted]" }

// GoString is String.
func (SecretText) GoString() string { return "[redacted]" }

// MarshalJSON is the redacted string.
func (SecretText) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Format hides the value whatever the verb.
func (SecretText) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// Families are the address families of the pod.
type Families string

// The families.
const (
	DualStack Families = "DualStack"
	IPv4Only  Families = "IPv4"
	IPv6Only  Families = "IPv6"
)

// Paths are the directories that the configuration refers to.
type Paths struct {
	Config string // the configuration files
	TLS    string // leaf, its key and the upstream's trust
	Run    string // the admin socket
	Roots  string // the public roots, which the pod assembles itself
	// Link is set where a whole Secret is mounted at Config, and names the symbolic link there that a new version replaces.
	// Everything is then read through it. Only the link changes at once: kubelet makes the visible name of a new file later,
	// and refreshes another volume of the same Secret at another time, and Envoy does not try again when a file is missing.
	Link string
}

// file is where Envoy reads a file.
func (p Paths) file(place Place, name string) string {
	if place == InTLS && p.Link == "" {
		return path.Join(p.TLS, name)
	}
	return path.Join(p.Config, p.Link, name)
}

// watched is the directory in which a change of a file shows.
func (p Paths) watched(place Place) *corev3.WatchedDirectory {
	if place == InTLS && p.Link == "" {
		return &corev3.WatchedDirectory{Path: p.TLS}
	}
	return &corev3.WatchedDirectory{Path: p.Config}
}

// SidecarPaths are the mount paths in the sidecar.
func SidecarPaths() Paths {
	return Paths{
		Config: "/etc/envoy", TLS: "/etc/envoy/tls", Run: "/run/netproxy", Roots: "/etc/netproxy/roots",
		Link: "..data", // as kubelet's atomic writer calls it (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go)
	}
}

// Names of files below Paths.Config, Paths.TLS, Paths.Run and Paths.Roots. Envoy reads .json with a third of the time and half of the
// memory that it needs for the same text as .yaml.
const (
	BootstrapFile  = "bootstrap.yaml"
	ListenersFile  = "lds.json"
	ClustersFile   = "cds.json"
	RoutesFile     = "rds.json"
	LeafSecretFile = "sds-leaf.json"

	LeafCertFile    = "leaf.crt"
	LeafKeyFile     = "leaf.key"
	UpstreamCAsFile = "upstream-ca.crt"

	AdminSocket = "admin.sock"

	RootsFile = names.BundleFile
)

// Place is the directory that a file belongs to.
type Place string

// The places, one per field of Paths that is mounted.
const (
	InConfig Place = "config"
	InTLS    Place = "tls"
)

// File is one file of the sidecar.
type File struct {
	Place  Place
	Name   string
	Data   []byte
	Secret bool // holds a key or a credential
}

// String names the file and hides what it holds.
func (f File) String() string { return fmt.Sprintf("%s/%s (%d bytes)", f.Place, f.Name, len(f.Data)) }

// Files are all files of a sidecar, in a fixed order.
type Files []File

// Size is the number of bytes of all names and contents, as they count towards a Secret's limit of 1 MiB.
func (f Files) Size() int {
	n := 0
	for _, file := range f {
		n += len(file.Name) + len(file.Data)
	}
	return n
}

// Find gives the file of a name, or nil.
func (f Files) Find(name string) *File {
	i := slices.IndexFunc(f, func(file File) bool { return file.Name == name })
	if i < 0 {
		return nil
	}
	return &f[i]
}

// Revision is the version of the listeners, clusters and routes: Envoy shows it as the one in force. Keys, certificates
// and credentials are not part of it.
func (f Files) Revision() string {
	lds := f.Find(ListenersFile)
	if lds == nil {
		return ""
	}
	return lds.version()
}

// version is what a file of resources begins with, or nothing.
func (f *File) version() string {
	if len(f.Data) < len(revisionOpens)+len(revisionBlank) {
		return ""
	}
	return string(f.Data[len(revisionOpens):][:len(revisionBlank)])
}

// Config is what a rendering needs besides the policy.
type Config struct {
	Paths    Paths
	Families Families
	// LeafCert and LeafKey are PEM; both are needed if the policy intercepts.
	LeafCert []byte
	LeafKey  SecretText
	// UpstreamCAs is the PEM that upstream certificates are verified against. Without it they are verified against the
	// RootsFile below Paths.Roots, which is not one of the Files.
	UpstreamCAs []byte
	// Credentials are the values of Plan.Credentials. One that is missing or empty makes its requests fail with 401.
	Credentials map[Credential]SecretText
	// Resolvers are asked instead of the ones in resolv.conf.
	Resolvers []netip.AddrPort
}

// SecretLimit is the largest size of a Secret's data that the API server takes: 1 MiB (Kubernetes, "Secrets").
const SecretLimit = 1 << 20

// CheckSize refuses files that do not fit into one Secret.
func (f Files) CheckSize() error {
	if n := f.Size(); n > SecretLimit {
		return fmt.Errorf("spec: the rendered policy has %d bytes, and a Secret holds %d: use fewer domains, rules or additional CAs, or split the policy", n, SecretLimit)
	}
	return nil
}
