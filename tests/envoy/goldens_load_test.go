package envoy

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/webhook/capture"
	"github.com/netproxy/netproxy/xds"
)

// goldenInputs are the policies of the golden renderings.
const goldenInputs = "../../xds/testdata/golden/*.yaml"

// TestGoldensLoad has a real Envoy load the rendering of every golden policy.
func TestGoldensLoad(t *testing.T) {
	inputs := must[[]string](t)(filepath.Glob(goldenInputs))
	if len(inputs) == 0 {
		t.Fatalf("no policy matches %s", goldenInputs)
	}
	ctx := testContext(t, 5*time.Minute)
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) { loadGolden(ctx, t, input) })
	}
}

func loadGolden(ctx context.Context, t *testing.T, input string) {
	policy := policyOf(t, must[[]byte](t)(os.ReadFile(input)))
	plan := must[*xds.Plan](t)(xds.Compile(xds.PolicyRef{Name: "ports"}, policy.PolicySpec()))
	usePorts(t, testLab(t).Pods[podGolden], plan.ProxyPort, plan.AdminPort)
	p := startProxy(ctx, t, podGolden, policy, "-l", "error")
	if err := inForce(ctx, p.envoy, p.files.Revision()); err != nil {
		t.Fatal(err)
	}
	status, stats, err := p.envoy.Admin(ctx, `/stats?filter=update_(rejected|failure|success)$`)
	if err != nil || status != 200 {
		t.Fatalf("stats: %d, %v", status, err)
	}
	if bad := regexp.MustCompile(`(?m)^.*update_(rejected|failure): [1-9].*$`).FindAll(stats, -1); len(bad) > 0 {
		t.Errorf("Envoy did not take everything: %q", bad)
	}
	loaded := regexp.MustCompile(`(?m)update_success: [1-9]`).FindAll(stats, -1)
	if want := subscriptions(p.files); len(loaded) < want {
		t.Errorf("Envoy has loaded %d resources, %d files have some:\n%s", len(loaded), want, stats)
	}
	if stderr := p.envoy.Stderr(); len(stderr) > 0 {
		t.Errorf("Envoy complains: %s", tail(stderr, 4000))
	}
}

// subscriptions counts the files that Envoy watches for resources.
func subscriptions(files xds.Files) int {
	n := 0
	for _, f := range files {
		if f.Place == xds.InConfig && f.Name != xds.BootstrapFile {
			n++
		}
	}
	return n
}

// usePorts gives a pod the policy's ports until the test ends.
func usePorts(t *testing.T, pod *lab.Pod, redirect, admin uint16) {
	t.Helper()
	oldRedirect, oldAdmin := pod.RedirectPort, pod.AdminPort
	set := func(redirect, admin uint16) {
		pod.RedirectPort, pod.AdminPort = redirect, admin
		if err := pod.Capture(capture.Deny); err != nil {
			t.Fatal(err)
		}
	}
	set(redirect, admin)
	t.Cleanup(func() { set(oldRedirect, oldAdmin) })
}
