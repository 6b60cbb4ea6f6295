package manifests_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGood creates each object of testdata/crd/good.
func TestGood(t *testing.T) {
	s := newServer(t)
	for _, path := range glob(t, "testdata/crd/good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			for _, object := range objects(t, path) {
				for _, problem := range s.admit(object, nil) {
					t.Error(problem)
				}
			}
		})
	}
}

// TestBad holds each object of testdata/crd/bad to the problems beside it. What the schema refuses, decoding or validation
// refuse as well, so that the command line says it before the cluster does.
func TestBad(t *testing.T) {
	s := newServer(t)
	golden(t, "testdata/crd/bad", func(t *testing.T, path string) string {
		var found []string
		for _, object := range objects(t, path) {
			found = append(found, s.admit(object, nil)...)
		}
		if len(found) == 0 {
			t.Error("the schema takes it")
		}
		if refusal := refuse(read(t, path)); refusal == "" {
			t.Error("decoding and validation take it")
		}
		return strings.Join(found, "\n") + "\n"
	})
}

// TestNullReachesAdmission shows that the schema leaves nulls in rules for admission to refuse, instead of dropping them.
func TestNullReachesAdmission(t *testing.T) {
	object := objects(t, "testdata/crd/null-lists.yaml")[0]
	if found := newServer(t).admit(object, nil); len(found) > 0 {
		t.Fatal(found)
	}
	raw, err := utiljson.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	_, err = decode.Policy(raw)
	for _, field := range []string{"hosts", "cidrs", "ports", "http"} {
		if err == nil || !strings.Contains(err.Error(), "."+field+": no value") {
			t.Errorf("null in %s: error %v", field, err)
		}
	}
}

// TestUpdate holds each change of testdata/crd/update, from the first document to the second, to the problems beside it;
// ValidateUpdate has to agree on whether there are any.
func TestUpdate(t *testing.T) {
	s := newServer(t)
	golden(t, "testdata/crd/update", func(t *testing.T, path string) string {
		both := objects(t, path)
		if len(both) != 2 {
			t.Fatalf("%d documents, want the old and the new object", len(both))
		}
		if found := s.admit(both[0], nil); len(found) > 0 {
			t.Fatalf("the old object: %v", found)
		}
		found := s.admit(both[1], both[0])
		docs, err := decode.Decode(read(t, path))
		if err != nil {
			t.Fatal(err)
		}
		errs := v1alpha1.ValidateUpdate(docs.Policies[1].PolicySpec(), docs.Policies[0].PolicySpec(), nil)
		if (len(errs) > 0) != (len(found) > 0) {
			t.Errorf("ValidateUpdate says %v, the schema %v", errs, found)
		}
		return strings.Join(found, "\n") + "\n"
	})
}

// TestLarge creates the largest policy that the bounds allow in its dimension, within the API server's budget for CEL.
func TestLarge(t *testing.T) {
	s := newServer(t)
	var domains, rules []any
	for i := range v1alpha1.MaxDomains {
		domains = append(domains, fmt.Sprintf("host-%d.example.com", i))
		rules = append(rules, map[string]any{
			"name": fmt.Sprintf("allow-%d", i), "action": "Allow", "hosts": []any{fmt.Sprintf("host-%d.example.com", i)},
			"ports": []any{map[string]any{"port": int64(443), "endPort": int64(444)}},
			"http":  []any{map[string]any{"paths": []any{map[string]any{"prefix": "/"}}}},
		})
	}
	object := map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.KindEgressPolicy,
		"metadata": map[string]any{"name": "large"},
		"spec": map[string]any{
			"egress": map[string]any{"defaultAction": "Deny", "rules": rules}, "mitm": map[string]any{"domains": domains},
		},
	}
	if found := s.admit(object, nil); len(found) > 0 {
		t.Error(found[:min(3, len(found))])
	}
}

// refuse is what decoding or validation say, or nothing.
func refuse(data []byte) string {
	docs, err := decode.Decode(data)
	if err != nil {
		return err.Error()
	}
	var found []string
	for _, policy := range docs.Policies {
		_, errs := v1alpha1.ValidatePolicy(policy)
		for _, err := range errs {
			found = append(found, err.Error())
		}
	}
	return strings.Join(found, "\n")
}

// objects reads documents without knowing their types, as an API server does.
func objects(t *testing.T, path string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, text := range strings.Split("\n"+string(read(t, path)), "\n---\n") {
		var object map[string]any
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := utiljson.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		if object != nil {
			all = append(all, object)
		}
	}
	return all
}

func golden(t *testing.T, dir string, run func(*testing.T, string) string) {
	t.Helper()
	want := map[string]bool{}
	for _, input := range glob(t, filepath.Join(dir, "*.yaml")) {
		output := strings.TrimSuffix(input, ".yaml") + ".txt"
		want[output] = true
		t.Run(filepath.Base(input), func(t *testing.T) { compare(t, output, run(t, input)) })
	}
	outputs, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range outputs {
		if !want[output] {
			t.Errorf("%s has no input: remove it", output)
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

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
