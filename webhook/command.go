package webhook

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/netproxy/netproxy/xds"
)

// Command runs the program with its arguments, and returns its exit code.
func Command(ctx context.Context, args []string, stderr io.Writer) int {
	logger := logr.FromSlogHandler(slog.NewJSONHandler(stderr, nil))
	options, kubeconfig, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		options.Log = logger
		err = run(ctx, options, kubeconfig)
	}
	if err != nil {
		fmt.Fprintf(stderr, "netproxy-webhook: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, options Options, kubeconfig string) error {
	cfg, err := clientConfig(kubeconfig)
	if err != nil {
		return err
	}
	return Run(ctx, cfg, options)
}

// clientConfig is the pod's own, unless a file is named.
func clientConfig(kubeconfig string) (*rest.Config, error) {
	read := rest.InClusterConfig
	if kubeconfig != "" {
		read = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	cfg, err := read()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	return cfg, nil
}

func parse(args []string, stderr io.Writer) (o Options, kubeconfig string, err error) {
	set := flag.NewFlagSet("netproxy-webhook", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "netproxy's own namespace")
	set.StringVar(&o.Images.Init, "init-image", "", "image of the injected init container")
	set.StringVar(&o.Images.Proxy, "proxy-image", "", "image of the injected Envoy")
	set.StringVar(&o.Images.CLI, "cli-image", "", "image with the plugin, which probe pods run")
	pull := set.String("image-pull-policy", string(corev1.PullIfNotPresent), "pull policy of all three: Always, IfNotPresent or Never")
	families := set.String("families", string(xds.DualStack), "address families of the pods: DualStack, IPv4 or IPv6")
	set.StringVar(&o.Metrics, "metrics-address", ":8080", "where Prometheus metrics are served; 0 turns them off")
	set.StringVar(&o.Health, "health-address", ":8081", "where /healthz and /readyz are served; 0 turns them off")
	set.IntVar(&o.Port, "port", 9443, "port of the webhook")
	election := set.Bool("leader-elect", true, "let replicas agree on one that runs the controllers")
	set.StringVar(&kubeconfig, "kubeconfig", "", "file with the API server to use; empty takes the pod's service account")
	if err := set.Parse(args); err != nil {
		return o, "", err
	}
	o.Images.PullPolicy, o.Families, o.Election = corev1.PullPolicy(*pull), xds.Families(*families), Elected
	if !*election {
		o.Election = Alone
	}
	return o, kubeconfig, check(o, *pull, set.Arg(0))
}

func check(o Options, pull, rest string) error {
	switch {
	case rest != "":
		return fmt.Errorf("%q: no arguments are taken, only flags", rest)
	case o.Families != xds.DualStack && o.Families != xds.IPv4Only && o.Families != xds.IPv6Only:
		return fmt.Errorf("--families %q: write DualStack, IPv4 or IPv6", o.Families)
	case pull != "Always" && pull != "IfNotPresent" && pull != "Never":
		return fmt.Errorf("--image-pull-policy %q: write Always, IfNotPresent or Never", pull)
	}
	return o.validate()
}
