package cluster

import (
	"github.com/spf13/pflag"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // users with an OIDC provider in their kubeconfig
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Flags are kubectl's own flags about the cluster: -n, --context, --kubeconfig, --as and so on. ConfigFlags of cli-runtime has
// the same ones, but links kustomize and every API group with them: 72 MB instead of 40.
type Flags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// Add defines the flags.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "path of the kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
	clientcmd.BindOverrideFlags(&f.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
}

// Namespace is what -n says, empty without it.
func (f *Flags) Namespace() string { return f.overrides.Context.Namespace }

func (f *Flags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
}

// Contexts are the names in the kubeconfig.
func (f *Flags) Contexts() ([]string, error) {
	config, err := f.loader().RawConfig()
	if err != nil {
		return nil, err
	}
	var out []string
	for name := range config.Contexts {
		out = append(out, name)
	}
	return out, nil
}

func (f *Flags) config() (config *rest.Config, namespace string, err error) {
	loader := f.loader()
	if config, err = loader.ClientConfig(); err != nil {
		return nil, "", err
	}
	namespace, _, err = loader.Namespace()
	return config, namespace, err
}
