package manifests_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/manifests"
)

// TestExamples holds every example to be one policy that decodes, validates and is taken by the schema, with the Secrets
// that it refers to, and a header that says what it shows.
func TestExamples(t *testing.T) {
	dir, err := manifests.Examples()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil || len(names) < 12 {
		t.Fatalf("%d examples, want the twelve at least: %v", len(names), err)
	}
	s := newServer(t)
	seen := map[string]string{}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			data, err := fs.ReadFile(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			policy := onePolicy(t, data)
			if first, ok := seen[policy.GetName()]; ok {
				t.Errorf("policy name %q is the one of %s", policy.GetName(), first)
			}
			seen[policy.GetName()] = name
			if found := s.admit(objects(t, "examples/"+name)[0], nil); len(found) > 0 {
				t.Error(found)
			}
			if !strings.HasPrefix(string(data), "# Shows: ") || !strings.Contains(string(data), "\n# Expect: ") {
				t.Error("the header has to say what it shows and what to expect")
			}
		})
	}
}

func onePolicy(t *testing.T, data []byte) v1alpha1.Policy {
	t.Helper()
	docs, err := decode.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(docs.Policies) != 1 {
		t.Fatalf("%d policies, want one", len(docs.Policies))
	}
	warnings, errs := v1alpha1.ValidatePolicy(docs.Policies[0])
	for _, err := range errs {
		t.Error(err)
	}
	for _, warning := range warnings {
		t.Log(warning)
	}
	checkSecrets(t, docs)
	return docs.Policies[0]
}

func checkSecrets(t *testing.T, docs decode.Documents) {
	t.Helper()
	values := map[string]bool{}
	for _, secret := range docs.Secrets {
		for key, value := range secret.Data {
			values[secret.Name+"/"+key] = len(value) > 0
		}
	}
	for _, mutation := range docs.Policies[0].PolicySpec().MITM.HeaderMutations {
		for _, header := range mutation.Headers {
			if ref := header.SecretRef; ref != nil && !values[ref.Name+"/"+ref.Key] {
				t.Errorf("Secret %s has no key %s", ref.Name, ref.Key)
			}
		}
	}
}
