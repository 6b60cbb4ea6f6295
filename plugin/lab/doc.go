// Package lab is a small world in which a rendered proxy configuration runs
// unmodified: pods with the packet filter of package capture and a real Envoy,
// and an Internet that answers on every address and writes down what it saw.
//
// Everything happens inside namespaces that [Enter] makes; no packet and no
// file leaves them. The lab needs Linux. As root it uses real UIDs; an
// ordinary user gets a user namespace, in which only one UID exists, so that
// workload and proxy are told apart by their source address instead.
//
// In a pod of a cluster it is the other way round: [EnterPod] and [Join] put an
// Internet into a pod that is there already.
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }
//
//	func TestPolicy(t *testing.T) {
//		l, err := lab.New(ctx, lab.Options{})
//		envoy, err := l.Pods[0].StartEnvoy(ctx, lab.EnvoyOptions{Files: files})
//		res := l.Pods[0].Do(ctx, lab.Request{Name: "api.example.com", TLS: true, Path: "/v1/"})
//	}
package lab

import "errors"

// ErrUnsupported is returned by [Enter] and [New] on systems without network
// namespaces.
var ErrUnsupported = errors.New("the local lab needs Linux (network namespaces and nftables): " +
	"run this command in a Linux virtual machine or container, or test a pod in a cluster instead")

// Where things are mounted in a pod.
const (
	ConfigDir = "/etc/envoy"
	TLSDir    = "/etc/envoy/tls"
)

// Default ports and UIDs of a pod.
const (
	RedirectPort = 15001
	AdminPort    = 15000
	ProxyUID     = 1337
	// WorkloadUID is what the workload's own processes run as, when UIDs can be told apart.
	WorkloadUID = 1000
)
