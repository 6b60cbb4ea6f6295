package xds_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/xds"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden runs render on every testdata/golden/*.yaml and compares with NAME.KIND beside it; golden files without an input
// are errors.
func golden(t *testing.T, suffix string, render func(*testing.T, v1alpha1.Policy) string) {
	t.Helper()
	inputs, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	known := map[string]bool{}
	for _, input := range inputs {
		output := strings.TrimSuffix(input, ".yaml") + suffix
		known[output] = true
		t.Run(filepath.Base(input), func(t *testing.T) { compareGolden(t, output, render(t, readPolicy(t, input))) })
	}
	outputs, _ := filepath.Glob("testdata/golden/*" + suffix)
	for _, output := range outputs {
		if !known[output] {
			t.Errorf("%s has no input; remove it", output)
		}
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func readPolicy(t *testing.T, file string) v1alpha1.Policy {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := decode.Decode(data)
	if err != nil || len(docs.Policies) != 1 {
		t.Fatalf("%d policies: %v", len(docs.Policies), err)
	}
	if _, errs := v1alpha1.ValidatePolicy(docs.Policies[0]); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return docs.Policies[0]
}

func compiled(t *testing.T, policy v1alpha1.Policy) *xds.Plan {
	t.Helper()
	kind := "EgressPolicy"
	if _, ok := policy.(*v1alpha1.ClusterEgressPolicy); ok {
		kind = "ClusterEgressPolicy"
	}
	plan, err := xds.Compile(xds.PolicyRef{Kind: kind, Namespace: policy.GetNamespace(), Name: policy.GetName()}, policy.PolicySpec())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// testConfig has a fixed text in place of keys and certificates, which the renderer does not read.
func testConfig(plan *xds.Plan) xds.Config {
	cfg := xds.Config{LeafCert: []byte("leaf\n"), LeafKey: xds.SecretText("key\n"), UpstreamCAs: []byte("roots\n"), Credentials: map[xds.Credential]xds.SecretText{}}
	for _, c := range plan.Credentials() {
		cfg.Credentials[c] = xds.SecretText("value of " + c.Secret)
	}
	return cfg
}

func rendered(t *testing.T, plan *xds.Plan) xds.Files {
	t.Helper()
	files, err := plan.Render(testConfig(plan))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRenderGolden(t *testing.T) {
	golden(t, ".files", func(t *testing.T, policy v1alpha1.Policy) string {
		var out strings.Builder
		for _, f := range rendered(t, compiled(t, policy)) {
			out.WriteString("--- " + string(f.Place) + "/" + f.Name + "\n")
			out.WriteString(readable(t, f))
		}
		return out.String()
	})
}

func readable(t *testing.T, f xds.File) string {
	t.Helper()
	if !json.Valid(f.Data) {
		return string(f.Data)
	}
	text, err := yaml.JSONToYAML(f.Data)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRenderIsDeterministic: a Secret that changes without a reason makes every sidecar reload.
func TestRenderIsDeterministic(t *testing.T) {
	policy := readPolicy(t, "testdata/golden/addresses.yaml")
	first := rendered(t, compiled(t, policy))
	for range 20 {
		if diff := cmp.Diff(first, rendered(t, compiled(t, policy))); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestRenderNeedsLeaf(t *testing.T) {
	plan := compiled(t, readPolicy(t, "testdata/golden/agent.yaml"))
	if _, err := plan.Render(xds.Config{}); err == nil || !strings.Contains(err.Error(), "no leaf certificate") {
		t.Errorf("got %v", err)
	}
}
