package plugin

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/mitm"
)

// TestTrust prints certificates and nothing else of the Secret.
func TestTrust(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ca, err := mitm.Generate(rand.NewChaCha8([32]byte{3}), now, "demo/agent")
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(ca.CertificatePEM())
	api := newFakeAPI(t, agentPolicy, agentSecret+"data: {ca-bundle.crt: "+encoded+", leaf.key: "+base64.StdEncoding.EncodeToString([]byte(canary))+"}\n")
	r := api.executeIn("", "trust", "agent")
	if r.code != ExitGood || !strings.HasPrefix(r.out, "# ") || !strings.Contains(r.out, "CN=netproxy CA demo/agent") || !strings.Contains(r.out, "until 2036-") || !strings.HasSuffix(r.out, string(ca.CertificatePEM())) || leaks(r.out+r.err) {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	if whole := api.executeIn("", "trust", "agent", "--bundle"); strings.Count(whole.out, "BEGIN CERTIFICATE") < 100 || !strings.HasSuffix(whole.out, r.out) {
		t.Errorf("--bundle: %d bytes", len(whole.out))
	}
	delete(api.objects, "/api/v1/namespaces/demo/secrets/netproxy-egp-agent")
	if r := api.executeIn("", "trust", "agent"); r.code != ExitFailed || !strings.Contains(r.err, "EgressPolicy demo/agent has no Secret netproxy-egp-agent in namespace demo yet") {
		t.Errorf("%d %q", r.code, r.err)
	}
}

func TestVersionOfTheCluster(t *testing.T) {
	api := newFakeAPI(t, agentPods)
	if r := api.executeIn("", "version"); r.code != ExitGood || r.out != "kubectl-netproxy v0.0.0-test\n" || !strings.Contains(r.err, "Warning: the webhook's version is not known") {
		t.Errorf("%d %q %q", r.code, r.out, r.err)
	}
	if r := api.executeIn("", "install", "--apply"); r.code != ExitGood {
		t.Fatal(r.err)
	}
	want := "kubectl-netproxy v0.0.0-test\nwebhook          netproxy/netproxy-webhook:dev\nproxy            envoy:1 in 1 pods\n"
	if r := api.executeIn("", "version"); r.out != want || r.err != "" {
		t.Errorf("%q %q", r.out, r.err)
	}
}
