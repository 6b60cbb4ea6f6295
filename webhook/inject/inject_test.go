package inject

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// read splits an input into the policy's spec and the pod.
func read(t *testing.T, file string) (Inputs, *corev1.Pod) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := bytes.SplitN(raw, []byte("\n---\n"), 2)
	if len(parts) != 2 {
		t.Fatalf("%s: want a policy, ---, and a pod", file)
	}
	var policy v1alpha1.EgressPolicy
	var pod corev1.Pod
	for i, into := range []any{&policy, &pod} {
		if err := yaml.UnmarshalStrict(parts[i], into); err != nil {
			t.Fatalf("%s, document %d: %v", file, i, err)
		}
	}
	v1alpha1.SetDefaults(&policy.Spec)
	in := Inputs{
		Ref: xds.PolicyRef{Kind: policy.Kind, Namespace: policy.Namespace, Name: policy.Name}, Spec: &policy.Spec,
		Resources: policy.Spec.Proxy.Resources.Over(v1alpha1.DefaultResources(&policy.Spec)),
		Images:    Images{Init: "init:1", Proxy: "envoy:1", CLI: "cli:1"}, UID: MinPodUID + 7, Revision: "r1", TrustedCAs: []string{"aa", "bb"},
	}
	if IsProbe(&pod) {
		in.Probe = pod.Name
	}
	return in, &pod
}

func inputs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	return files
}

func TestGolden(t *testing.T) {
	for _, file := range inputs(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, pod := read(t, file)
			got := render(t, pod, in)
			golden := strings.TrimSuffix(file, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func render(t *testing.T, pod *corev1.Pod, in Inputs) string {
	t.Helper()
	out, errs := Pod(pod, in)
	var text strings.Builder
	for _, err := range errs {
		text.WriteString("# error: " + err.Error() + "\n")
	}
	for _, warning := range InjectedSecrets(pod, in.Spec) {
		text.WriteString("# warning: " + warning + "\n")
	}
	if len(errs) == 0 {
		body, err := yaml.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(body)
	}
	return text.String()
}

// TestAgain injects what was injected: the same pod, and nothing for Verify to find.
func TestAgain(t *testing.T) {
	injected := 0
	for _, file := range inputs(t) {
		in, pod := read(t, file)
		once, errs := Pod(pod, in)
		if len(errs) > 0 {
			continue
		}
		injected++
		twice, errs := Pod(once, in)
		if len(errs) > 0 {
			t.Errorf("%s: %v", file, errs)
			continue
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("%s: the second injection differs:\n%s", file, diff)
		}
		if errs := Verify(once, in); len(errs) > 0 {
			t.Errorf("%s: %v", file, errs)
		}
	}
	if injected < 5 {
		t.Errorf("only %d inputs were injected", injected)
	}
}

// TestPresetUID: a pod that brings its own injection gets another user.
func TestPresetUID(t *testing.T) {
	in, pod := read(t, "testdata/plain.in.yaml")
	preset, errs := Pod(pod, in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	in.UID++
	again, errs := Pod(preset, in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := *ProxyOf(again).SecurityContext.RunAsUser; got != in.UID {
		t.Errorf("the proxy runs as %d, want %d", got, in.UID)
	}
}
