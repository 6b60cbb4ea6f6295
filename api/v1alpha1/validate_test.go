package v1alpha1_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestValidate holds every document of testdata/validate to the errors and warnings beside it.
func TestValidate(t *testing.T) {
	golden(t, "testdata/validate", func(data []byte) string {
		docs, err := decode.Decode(data)
		if err != nil {
			return "decode: " + strings.ReplaceAll(err.Error(), "\n", "\ndecode: ") + "\n"
		}
		var out strings.Builder
		for _, policy := range docs.Policies {
			warnings, errs := v1alpha1.ValidatePolicy(policy)
			for _, err := range errs {
				out.WriteString("error: " + err.Error() + "\n")
			}
			for _, warning := range warnings {
				out.WriteString("warning: " + warning.String() + "\n")
			}
		}
		return out.String()
	})
}

// golden compares what run makes of each .yaml in dir with the .txt beside it, and finds .txt files without one.
func golden(t *testing.T, dir string, run func([]byte) string) {
	t.Helper()
	inputs, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs in %s: %v", dir, err)
	}
	want := map[string]bool{}
	for _, input := range inputs {
		output := strings.TrimSuffix(input, ".yaml") + ".txt"
		want[output] = true
		t.Run(filepath.Base(input), func(t *testing.T) { compare(t, output, run(read(t, input))) })
	}
	outputs, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range outputs {
		if !want[output] {
			orphan(t, output)
		}
	}
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, path)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func orphan(t *testing.T, path string) {
	t.Helper()
	if !*update {
		t.Errorf("%s has no input", path)
	} else if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
