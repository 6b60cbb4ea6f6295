package envoy

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

func credentialValue(c xds.Credential) string { return canary + c.Secret + "-" + c.Key }

// authority is one CA for all policies of the tests.
func authority() (*mitm.CA, error) { return mitm.Generate(rand.Reader, time.Now(), "tests") }

func compile(spec *v1alpha1.EgressPolicySpec, private ...netip.Prefix) (*xds.Plan, error) {
	return xds.Compile(xds.PolicyRef{Kind: "EgressPolicy", Namespace: "demo", Name: "tested"}, spec, private...)
}

func render(l *lab.Lab, ca *mitm.CA, plan *xds.Plan) (xds.Files, error) {
	cfg := xds.Config{UpstreamCAs: l.World.CAPEM(), Credentials: map[xds.Credential]xds.SecretText{}}
	if !l.IPv6 {
		cfg.Families = xds.IPv4Only
	}
	for _, c := range plan.Credentials() {
		cfg.Credentials[c] = xds.SecretText(credentialValue(c))
	}
	if len(plan.Domains) > 0 {
		names := make([]string, len(plan.Domains))
		for i, d := range plan.Domains {
			names[i] = d.SAN()
		}
		leaf, err := mitm.Issue(ca, names, rand.Reader, time.Now())
		if err != nil {
			return nil, fmt.Errorf("issuing a leaf: %w", err)
		}
		key, err := leaf.Key().RevealPEM()
		if err != nil {
			return nil, fmt.Errorf("writing the key of the leaf: %w", err)
		}
		cfg.LeafCert, cfg.LeafKey = leaf.CertificatePEM(), key
	}
	return plan.Render(cfg)
}

func mounted(files xds.Files) map[string][]byte {
	out := map[string][]byte{}
	for _, f := range files {
		out[f.Name] = f.Data
		if f.Place == xds.InTLS {
			out["tls/"+f.Name] = f.Data
		}
	}
	return out
}

// deploy gives a pod's Envoy new files, starting one if there is none, and waits until they are in force.
func deploy(ctx context.Context, envoy *lab.Envoy, pod *lab.Pod, files xds.Files) (*lab.Envoy, error) {
	if envoy == nil {
		return pod.StartEnvoy(ctx, lab.EnvoyOptions{
			Files: mounted(files), Args: []string{"--drain-time-s", "2", "--concurrency", "1", "-l", "error"},
		})
	}
	if err := envoy.Swap(mounted(files)); err != nil {
		return nil, fmt.Errorf("swapping files: %w", err)
	}
	return envoy, inForce(ctx, envoy, files.Revision())
}

// inForce waits for the revision in all three kinds of resources.
func inForce(ctx context.Context, envoy *lab.Envoy, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, stat := range []string{"cluster_manager.cds.version_text", "listener_manager.lds.version_text", routesVersion(ctx, envoy)} {
		if err := envoy.WaitStat(ctx, stat, func(v string) bool { return v == revision }); err != nil {
			return fmt.Errorf("waiting for revision %s in %s: %w\n%s", revision, stat, err, tail(envoy.Stderr(), 4000))
		}
	}
	return nil
}

// routesVersion is the stat of the route table, named after whichever chain asked for it first.
func routesVersion(ctx context.Context, envoy *lab.Envoy) string {
	for _, prefix := range []string{"intercept", "plaintext"} {
		name := "http.netproxy_" + prefix + ".rds.requests.version_text"
		if v, err := envoy.Stat(ctx, name); err == nil && v != "" {
			return name
		}
	}
	return "http.netproxy_plaintext.rds.requests.version_text"
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
