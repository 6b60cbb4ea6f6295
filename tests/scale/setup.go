package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/webhook"
	"github.com/netproxy/netproxy/webhook/inject"
)

// own is netproxy's namespace, account its ServiceAccount there.
const (
	own     = "netproxy-system"
	account = "netproxy-webhook"
)

func images() inject.Images {
	return inject.Images{Init: "netproxy.test/init:1", Proxy: "netproxy.test/envoy:1", CLI: "netproxy.test/cli:1"}
}

// bench is what all measurements share.
type bench struct {
	*cluster.Cluster
	settings settings
	api      client.Client
	dir      string // for binaries, logs and credentials
	netproxy binary
	noop     binary
	items    []*item
	report   *report
}

func prepare(ctx context.Context, s settings) (*bench, error) {
	c, err := cluster.Open()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.New(c.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	b := &bench{Cluster: c, settings: s, api: api, dir: filepath.Join(filepath.Dir(filepath.Dir(c.State)), "scale"), report: &report{}}
	if err := os.MkdirAll(b.dir, 0o750); err != nil {
		return nil, err
	}
	if err := b.install(ctx); err != nil {
		return nil, err
	}
	return b, b.binaries(ctx)
}

// install applies what the program needs, without the webhook configurations: admission is measured directly.
func (b *bench) install(ctx context.Context) error {
	args := []string{"apply", "--server-side", "--force-conflicts"}
	for _, file := range []string{
		"crd/netproxy.dev_egresspolicies.yaml", "crd/netproxy.dev_clusteregresspolicies.yaml",
		"install/10-namespace.yaml", "install/20-rbac.yaml", "install/30-fence.yaml",
	} {
		args = append(args, "-f", "manifests/"+file)
	}
	if _, err := b.Kubectl(ctx, args...); err != nil {
		return err
	}
	if _, err := b.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd/egresspolicies.netproxy.dev", "crd/clusteregresspolicies.netproxy.dev"); err != nil {
		return err
	}
	var there v1alpha1.EgressPolicyList
	if err := b.api.List(ctx, &there); err != nil {
		return err
	}
	if len(there.Items) > 0 {
		return errors.New("the cluster has policies already, and numbers would mean nothing: make cluster-down, and again")
	}
	return nil
}

func (b *bench) binaries(ctx context.Context) error {
	kubeconfig, err := b.kubeconfig(ctx)
	if err != nil {
		return err
	}
	pkg := "./cmd/netproxy-webhook"
	if b.settings.profiles != "" {
		pkg = "./tests/scale/profiled"
	}
	b.netproxy = binary{name: "netproxy", args: []string{
		"--kubeconfig=" + kubeconfig, "--namespace=" + own, "--init-image=" + images().Init, "--proxy-image=" + images().Proxy,
		"--cli-image=" + images().CLI, "--leader-elect=false",
	}}
	if b.netproxy.path, err = build(ctx, b.dir, "netproxy-webhook", pkg); err != nil {
		return err
	}
	b.noop = binary{name: "noop", args: []string{"--kubeconfig=" + kubeconfig, "--certificates=" + b.dir}}
	if b.noop.path, err = build(ctx, b.dir, "noop", "./tests/scale/noop"); err != nil {
		return err
	}
	return b.certificate()
}

// kubeconfig is netproxy's own account's, as in its pod.
func (b *bench) kubeconfig(ctx context.Context) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	token, err := b.Client.CoreV1().ServiceAccounts(own).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get a token of %s: %w", account, err)
	}
	cfg := rest.CopyConfig(b.Config)
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return "", err
	}
	out := clientcmdapi.NewConfig()
	out.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	out.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	out.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	out.CurrentContext = "x"
	file := filepath.Join(b.dir, "kubeconfig")
	return file, clientcmd.WriteToFile(*out, file)
}

// certificate makes the no-op webhook's, of the same kind as netproxy's own.
func (b *bench) certificate() error {
	ca, err := mitm.Generate(rand.Reader, time.Now(), "noop")
	if err != nil {
		return err
	}
	leaf, err := mitm.Issue(ca, []string{"localhost"}, rand.Reader, time.Now())
	if err != nil {
		return err
	}
	key, err := leaf.Key().RevealPEM()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(b.dir, "tls.crt"), leaf.CertificatePEM(), 0o600), os.WriteFile(filepath.Join(b.dir, "tls.key"), key, 0o600),
		os.WriteFile(filepath.Join(b.dir, "ca.crt"), ca.CertificatePEM(), 0o600))
}

// serverName is whom netproxy's certificate is for.
func serverName() string { return webhook.ServiceName + "." + own + ".svc" }
