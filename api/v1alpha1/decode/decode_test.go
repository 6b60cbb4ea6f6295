package decode_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

const canary = "canary-5f3a"

func TestDecode(t *testing.T) {
	docs, err := decode.Decode([]byte(`# only a comment
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {name: one}
  data: {key: dmFsdWU=, both: b2xk}
  stringData: {text: plain, both: new}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: two}
  data: {ca.crt: PEM}
---
--- {apiVersion: netproxy.dev/v1alpha1, kind: ClusterEgressPolicy, metadata: {name: three}, spec: {egress: {defaultAction: Deny}}}
---
{"apiVersion": "netproxy.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "four"}, "spec": {"egress": {"defaultAction": "Deny"}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, policy := range docs.Policies {
		names = append(names, policy.GetName())
	}
	for _, configMap := range docs.ConfigMaps {
		names = append(names, configMap.Name)
	}
	if diff := cmp.Diff([]string{"three", "four", "two"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	want := map[string][]byte{"key": []byte("value"), "text": []byte("plain"), "both": []byte("new")}
	if diff := cmp.Diff(want, docs.Secrets[0].Data); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
}

// TestErrorsHoldNoSecrets: whatever is wrong with a Secret, its values are not repeated.
func TestErrorsHoldNoSecrets(t *testing.T) {
	head := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	cases := map[string]string{
		"not base64":      head + "data: {key: '" + canary + "!'}",
		"number":          head + "stringData: {key: 53530000535}",
		"list":            head + "stringData: {key: [" + canary + "]}",
		"whole":           head + "stringData: " + canary,
		"duplicate":       head + "stringData: {key: a}\nstringData: {key: " + canary + "}",
		"broken":          head + "stringData: {key: " + canary,
		"bad indentation": head + "stringData:\n  key: " + canary + "\n other: " + canary,
		"tab":             head + "stringData:\n\tkey: " + canary,
		"unknown field":   head + "value: " + canary,
		"alias":           head + "stringData: {key: *" + "nothing}",
		"text":            canary + " " + canary,
		"block":           head + "stringData:\n  key: |\n  " + canary,
	}
	for name, input := range cases {
		_, err := decode.Decode([]byte(input))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "5353") {
			t.Errorf("%s: the value is in %q", name, err)
		}
	}
}

func TestLines(t *testing.T) {
	_, err := decode.Decode([]byte("# a\n---\na: 1\n--- # b\nb: 1\nb: 2\n---\nkind: [\n---\nkind: Pod\napiVersion: v1\n"))
	const want = `document at line 2: object "": kind is missing: write EgressPolicy or ClusterEgressPolicy
yaml: unmarshal errors: line 6: key "b" already set in map
yaml: line 8: did not find expected node content
document at line 9: Pod "": apiVersion "v1", kind "Pod": only EgressPolicy and ClusterEgressPolicy of netproxy.dev/v1alpha1, and Secret and ConfigMap of v1 are read`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPolicy(t *testing.T) {
	policy, err := decode.Policy([]byte(`{"apiVersion": "netproxy.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "a"},
		"spec": {"egress": {"defaultAction": "Deny"}}}`))
	if err != nil || policy.GetName() != "a" {
		t.Errorf("policy %v, error %v", policy, err)
	}
	for _, bad := range []string{`{"apiVersion": "v1", "kind": "Secret"}`, `{`, `[]`, `null`, ``} {
		if _, err := decode.Policy([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a policy", bad)
		}
	}
}
