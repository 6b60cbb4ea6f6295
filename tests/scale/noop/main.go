// noop is what netproxy-webhook is compared with: a controller-runtime manager with one webhook that allows everything.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "noop:", err)
		os.Exit(1)
	}
}

func run() error {
	certificates := flag.String("certificates", "", "directory with tls.crt and tls.key")
	port := flag.Int("port", 9443, "port of the webhook")
	metrics := flag.String("metrics-address", "0", "where metrics are served")
	health := flag.String("health-address", "0", "where health is served")
	caches := flag.Bool("caches", false, "watch what netproxy-webhook watches")
	flag.Parse() // --kubeconfig is controller-runtime's own
	cfg, err := config.GetConfig()
	if err != nil {
		return err
	}
	hooks := webhook.NewServer(webhook.Options{Port: *port, CertDir: *certificates})
	mgr, err := ctrl.NewManager(cfg, manager.Options{
		Logger: logr.Discard(), Metrics: server.Options{BindAddress: *metrics}, HealthProbeBindAddress: *health, WebhookServer: hooks,
	})
	if err != nil {
		return err
	}
	mgr.GetWebhookServer().Register("/noop", &admission.Webhook{Handler: admission.HandlerFunc(
		func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })})
	if *caches {
		if err := watch(mgr); err != nil {
			return err
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhook", hooks.StartedChecker()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return mgr.Start(ctx)
}

// watch starts the caches that netproxy-webhook has: what they cost is no program's own.
func watch(mgr manager.Manager) error {
	policies := v1alpha1.GroupVersion.String()
	for _, kind := range []metav1.TypeMeta{
		{APIVersion: "v1", Kind: "Namespace"}, {APIVersion: "v1", Kind: "Secret"}, {APIVersion: "v1", Kind: "ConfigMap"}, {APIVersion: "v1", Kind: "Pod"},
		{APIVersion: policies, Kind: v1alpha1.KindEgressPolicy}, {APIVersion: policies, Kind: v1alpha1.KindClusterEgressPolicy},
	} {
		if _, err := mgr.GetCache().GetInformer(context.Background(), &metav1.PartialObjectMetadata{TypeMeta: kind}); err != nil {
			return err
		}
	}
	return nil
}
