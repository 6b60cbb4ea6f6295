// Package cluster drives the test cluster that "make cluster" starts: what end-to-end tests and measurements need of it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/netproxy/netproxy/tests/cluster/control"
)

// Env names the environment variable with the state directory of the cluster, as "make e2e" sets it.
const Env = "NETPROXY_CLUSTER"

// ErrNone says that [Env] is not set.
var ErrNone = errors.New(`NOT TESTED: there is no cluster (make e2e starts one; or set ` + Env + ` to its state directory, .cache/cluster/0)`)

// Cluster is a running test cluster.
type Cluster struct {
	// State is its state directory.
	State   string
	Config  *rest.Config
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// World is the Internet that the pods see.
	World *control.Client

	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// Open returns the cluster that the environment names.
func Open() (*Cluster, error) {
	state := os.Getenv(Env)
	if state == "" {
		return nil, ErrNone
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(state, "kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the cluster: %w", err)
	}
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	return open(state, config)
}

// As returns the cluster as another user sees it: a user's name, or system:serviceaccount:NAMESPACE:NAME.
func (c *Cluster) As(user string) (*Cluster, error) {
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	return open(c.State, config)
}

func open(state string, config *rest.Config) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dynamics, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		State: state, Config: config, Client: client, Dynamic: dynamics,
		World:  control.NewClient(filepath.Join(state, "world.sock")),
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
	}, nil
}

// LoadImages makes images of tests/cluster/image and loads those that changed. root is the root of the repository.
func (c *Cluster) LoadImages(ctx context.Context, root string, names ...string) error {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"tests/cluster/images.sh"}, names...)...)
	cmd.Dir = root
	// Several clusters can run from one repository: the state directory's name is the number.
	cmd.Env = append(os.Environ(), "CLUSTER_ID="+filepath.Base(c.State))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make images: %w\n%s", err, out)
	}
	return nil
}

// Kubectl runs the kubectl of the cluster and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	kubectl := filepath.Join(c.State, "bin", "kubectl")
	cmd := exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig", filepath.Join(c.State, "kubeconfig")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return out, nil
}
