package decode_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

// FuzzDecode: nothing panics, neither decoding nor validation; and an accepted policy, written out, is the same policy
// with the same verdict.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"../testdata/validate/*.yaml", "../../../manifests/examples/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("no files %s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := decode.Decode(data)
		if err != nil {
			return
		}
		for _, policy := range docs.Policies {
			if _, errs := v1alpha1.ValidatePolicy(policy); len(errs) == 0 {
				roundTrip(t, policy)
			}
		}
	})
}

func roundTrip(t *testing.T, policy v1alpha1.Policy) {
	t.Helper()
	data, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := decode.Decode(data)
	if err != nil || len(docs.Policies) != 1 {
		t.Fatalf("%v\n%s", err, data)
	}
	again := docs.Policies[0]
	quantities := cmp.Comparer(func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 })
	if diff := cmp.Diff(policy.PolicySpec(), again.PolicySpec(), quantities, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-first +again):\n%s", diff)
	}
	if _, errs := v1alpha1.ValidatePolicy(again); len(errs) > 0 {
		t.Fatalf("%v\n%s", errs, data)
	}
}
