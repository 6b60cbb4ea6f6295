// Package webhook is the program in the cluster: admission, and the controllers that stand behind it.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/admission"
	"github.com/netproxy/netproxy/webhook/control"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/serving"
	"github.com/netproxy/netproxy/xds"
)

// Names of netproxy's objects in its own namespace, and of its webhook configurations.
const (
	ServiceName       = "netproxy-webhook"
	ServingSecretName = "netproxy-webhook-tls"
	ConfigurationName = "netproxy"
	leaseName         = "netproxy-webhook"
)

// Requests per second to the API server. A change that concerns up to a hundred pods goes out at once, a larger one at this rate.
const (
	requestsPerSecond = 200
	requestsAtOnce    = 300
)

// leaseDuration is how long changes wait when the leader dies without a word.
const leaseDuration = 8 * time.Second

// Options set the program up.
type Options struct {
	// Namespace is netproxy's own.
	Namespace string
	Images    inject.Images
	Families  xds.Families
	// Addresses to listen on; "0" turns metrics or health off.
	Metrics, Health string
	// Port of the webhook.
	Port int
	// Election says whether replicas agree on a leader.
	Election Election
	Log      logr.Logger
	// Workers is how many policies are worked on at once; 0 is the controllers' own default.
	Workers int
}

// Election is whether there are other replicas.
type Election string

// The elections.
const (
	Elected Election = "elected"
	Alone   Election = "alone"
)

func (o *Options) validate() error {
	switch {
	case o.Namespace == "":
		return errors.New("--namespace is empty: give netproxy's own namespace, or set POD_NAMESPACE")
	case o.Images.Init == "" || o.Images.Proxy == "" || o.Images.CLI == "":
		return errors.New("--init-image, --proxy-image and --cli-image are needed: they name the images of the injected containers")
	}
	return nil
}

// Run serves until the context ends.
func Run(ctx context.Context, cfg *rest.Config, options Options) error {
	if err := options.validate(); err != nil {
		return err
	}
	log.SetLogger(options.Log)
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = requestsPerSecond, requestsAtOnce
	mgr, cached, err := newManager(cfg, &options)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	if err := control.Setup(ctx, mgr, cached, control.Options{Namespace: options.Namespace, Families: options.Families, Workers: options.Workers}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newManager(cfg *rest.Config, o *Options) (manager.Manager, control.Reader, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, control.Reader{}, err
	}
	keeper := &serving.Keeper{
		Options: serving.Options{Namespace: o.Namespace, Service: ServiceName, Secret: ServingSecretName, Configuration: ConfigurationName},
		Log:     o.Log.WithName("serving"),
	}
	hooks := crwebhook.NewServer(crwebhook.Options{Port: o.Port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.GetCertificate, c.MinVersion = keeper.Certificate, tls.VersionTLS13
	}}})
	mgr, err := ctrl.NewManager(cfg, manager.Options{
		Scheme: scheme, Logger: o.Log, Cache: control.CacheOptions(),
		Metrics: server.Options{BindAddress: o.Metrics}, HealthProbeBindAddress: o.Health, WebhookServer: hooks,
		LeaderElection: o.Election == Elected, LeaderElectionID: leaseName, LeaderElectionNamespace: o.Namespace, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: new(leaseDuration), RenewDeadline: new(leaseDuration * 2 / 3), RetryPeriod: new(leaseDuration / 8),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, control.Reader{}, err
	}
	keeper.Client, keeper.Live = mgr.GetClient(), mgr.GetAPIReader()
	cached, err := control.Cached(mgr, o.Namespace)
	if err != nil {
		return nil, control.Reader{}, err
	}
	// Asking for the server is what makes the manager start it.
	admission.Register(mgr.GetWebhookServer(), cached, mgr.GetAPIReader(), mgr.GetClient(), admission.Options{Namespace: o.Namespace, Images: o.Images})
	return mgr, cached, errors.Join(mgr.Add(keeper), mgr.Add(cached), mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("caches", cached.Ready),
		mgr.AddReadyzCheck("certificate", keeper.Ready), mgr.AddReadyzCheck("webhook", hooks.StartedChecker()))
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(corev1.AddToScheme(scheme), admissionregistrationv1.AddToScheme(scheme), authorizationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}
