package inject

import (
	"encoding/json"
	"slices"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestPatch applies the patch to the JSON of each input, with a field that no type of ours has.
func TestPatch(t *testing.T) {
	for _, file := range inputs(t) {
		in, pod := read(t, file)
		want, errs := Pod(pod, in)
		if len(errs) > 0 {
			continue
		}
		checkPatch(t, file, pod, want)
		in.UID++
		again, errs := Pod(want, in)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		checkPatch(t, file+", again", want, again)
	}
}

func checkPatch(t *testing.T, name string, pod, want *corev1.Pod) {
	t.Helper()
	raw, kept := withUnknown(t, pod, "spec", "containers"), withUnknown(t, want, "spec", "containers")
	if IsProbe(want) {
		kept = withUnknown(t, want, "spec") // nothing of the user's container is left
	}
	body, err := json.Marshal(Patch(pod, want))
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, body)
	}
	if !jsonpatch.Equal(patched, kept) {
		var got corev1.Pod
		if err := json.Unmarshal(patched, &got); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: the patched pod differs:\n%s", name, cmp.Diff(want, &got))
	}
}

// withUnknown adds fields of a Kubernetes to come.
func withUnknown(t *testing.T, pod *corev1.Pod, where ...string) []byte {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	spec := tree["spec"].(map[string]any)
	if slices.Contains(where, "spec") {
		spec["fieldOfTomorrow"] = map[string]any{"x": 1.0}
	}
	if slices.Contains(where, "containers") {
		for _, c := range spec["containers"].([]any) {
			c.(map[string]any)["fieldOfTomorrow"] = "y"
		}
	}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
