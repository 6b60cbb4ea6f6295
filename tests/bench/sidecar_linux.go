package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// sidecar is netproxy's Envoy, on the files of a rendered policy.
type sidecar struct {
	*process
	dir string
}

func validated(spec *v1alpha1.EgressPolicySpec) (*v1alpha1.EgressPolicySpec, error) {
	v1alpha1.SetDefaults(spec)
	_, errs := v1alpha1.Validate(spec, field.NewPath("spec"))
	return spec, errs.ToAggregate()
}

// credentialValue is what the upstream must get.
const credentialValue = "canary-of-the-benchmark"

// interceptPolicy intercepts one domain, puts a credential in, and allows methods, paths and a port.
func interceptPolicy() (*v1alpha1.EgressPolicySpec, error) {
	prefix, exact := "/v1/", "/healthz"
	return validated(&v1alpha1.EgressPolicySpec{
		Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: []v1alpha1.Rule{{
			Name: "api", Action: v1alpha1.ActionAllow, Hosts: []string{upstreamName}, Ports: []v1alpha1.PortRange{{Port: 443}},
			HTTP: []v1alpha1.HTTPMatch{{Methods: []string{"GET", "POST"}, Paths: []v1alpha1.PathMatch{{Prefix: &prefix}, {Exact: &exact}}}},
		}}},
		MITM: &v1alpha1.MITM{Domains: []string{upstreamName}, HeaderMutations: []v1alpha1.HeaderMutation{{
			Domain:  upstreamName,
			Headers: []v1alpha1.Header{{Name: "Authorization", SecretRef: &v1alpha1.SecretKeyRef{Name: "api", Key: "key"}, Prefix: "Bearer "}},
		}}},
	})
}

// renderInto compiles, renders and writes a policy's files below dir, as they would be mounted.
func renderInto(dir string, spec *v1alpha1.EgressPolicySpec, leafCert, leafKey, trusted []byte) error {
	plan, err := xds.Compile(xds.PolicyRef{Kind: "EgressPolicy", Namespace: "bench", Name: "bench"}, spec)
	if err != nil {
		return err
	}
	paths := xds.Paths{Config: filepath.Join(dir, "config"), TLS: filepath.Join(dir, "tls"), Run: filepath.Join(dir, "run")}
	config := xds.Config{
		Paths: paths, Families: families(), LeafCert: leafCert, LeafKey: leafKey, UpstreamCAs: trusted,
		Credentials: map[xds.Credential]xds.SecretText{},
		Resolvers:   []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(resolverAddress), 53)},
	}
	for _, c := range plan.Credentials() {
		config.Credentials[c] = xds.SecretText(credentialValue)
	}
	files, err := plan.Render(config)
	if err != nil {
		return err
	}
	return writeFiles(paths, files)
}

// families are both, unless the kernel has no IPv6.
func families() xds.Families {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return xds.IPv4Only
	}
	return xds.DualStack
}

func writeFiles(paths xds.Paths, files xds.Files) error {
	for _, dir := range []string{paths.Config, paths.TLS, paths.Run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for _, f := range files {
		dir := paths.Config
		if f.Place == xds.InTLS {
			dir = paths.TLS
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// startSidecar runs Envoy on the files below dir as the sidecar does, and does not wait for it.
func startSidecar(envoy, dir string, where cpus) (*sidecar, error) {
	p, err := launch(dir, "netproxy", where, envoy, "-c", filepath.Join(dir, "config", xds.BootstrapFile),
		"--drain-time-s", "10", "--concurrency", "1", "--disable-hot-restart")
	return &sidecar{p, dir}, err
}

// ready returns nil once Envoy says that it is, and has every redirect listener.
func (s *sidecar) ready(ctx context.Context) error {
	if status, _, err := s.admin(ctx, "/ready"); err != nil || status != http.StatusOK {
		return fmt.Errorf("/ready: status %d: %w", status, err)
	}
	_, body, err := s.admin(ctx, "/listeners?format=json")
	if err != nil {
		return err
	}
	var list struct {
		Statuses []struct {
			Name string `json:"name"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("read the list of listeners: %w", err)
	}
	names := []string{"redirect.v4"}
	if families() == xds.DualStack {
		names = append(names, "redirect.v6")
	}
	for _, l := range list.Statuses {
		names = slices.DeleteFunc(names, func(name string) bool { return name == l.Name })
	}
	if len(names) > 0 {
		return fmt.Errorf("listeners are missing: %v", names)
	}
	return nil
}

func (s *sidecar) admin(ctx context.Context, path string) (int, []byte, error) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "run", xds.AdminSocket))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}
