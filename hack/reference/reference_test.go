package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCurrent(t *testing.T) {
	want, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/policy-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/policy-reference.md is not what the types say; run make generate:\n%s", diff)
	}
}

// TestComplete names a field of each level and each kind of limit.
func TestComplete(t *testing.T) {
	text, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## spec.egress.rules[].http[].paths[]", "| `namespaceSelector` |", "ClusterEgressPolicy only.", "One of `Allow`, `Deny`",
		"1 to 65535", "default `15001`", "hosts and cidrs exclude each other", "## status.pods", "| `defaultAction` **required** |",
		"[`headerMutations`](#specmitmheadermutations)", "## spec.mitm.headerMutations[]",
	} {
		if !strings.Contains(strings.ReplaceAll(text, "default `15001`", "default `15001`"), want) {
			t.Errorf("there is no %q", want)
		}
	}
}
