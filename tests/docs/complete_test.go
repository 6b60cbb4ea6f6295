package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/names"
)

// TestComplete: each thing that a user can meet, as the sources declare it, stands in its page, and nothing else does.
func TestComplete(t *testing.T) {
	for _, c := range []struct {
		what, sources, declared, page, documented string
	}{
		{"finding", "plugin/check*.go", `"(NP\d{3})"`, "docs/troubleshooting.md", `(?m)^### (NP\d{3})`},
		{"reason", "api/v1alpha1/conditions.go", `Reason\w+\s+= "(\w+)"`, "docs/troubleshooting.md", "(?m)^\\| `(\\w+)` \\|"},
		{"condition", "api/v1alpha1/conditions.go", `Condition\w+\s+= "(\w+)"`, "docs/troubleshooting.md", "(?m)^\\| \\*\\*(\\w+)\\*\\* \\|"},
		{"event", "webhook/control/*.go", `EventTypeNormal, "(\w+)"`, "docs/observability.md", "(?m)^\\| `(\\w+)` \\| Normal"},
		{"field of audit records", "plugin/internal/audit/record.go", `json:"([a-zA-Z]+)`, "docs/observability.md", "(?m)^\\| `(\\w+)` \\| record"},
	} {
		want := declared(t, c.sources, c.declared)
		if diff := cmp.Diff(want, matches(read(t, c.page), c.documented)); diff != "" {
			t.Errorf("%s: every %s that %s declares, and no other (-declared +documented):\n%s", c.page, c.what, c.sources, diff)
		}
	}
}

func TestTrustVariables(t *testing.T) {
	page := read(t, "docs/trust.md")
	for _, name := range append(names.TrustVariables(), "JAVA_TOOL_OPTIONS") {
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("docs/trust.md says nothing of %s", name)
		}
	}
}

func TestMetrics(t *testing.T) {
	page := read(t, "docs/observability.md")
	for _, name := range declared(t, "webhook/control/metrics.go", `gauge\("(\w+)"`) {
		if !strings.Contains(page, "`netproxy_policy_"+name+"`") {
			t.Errorf("docs/observability.md says nothing of netproxy_policy_%s", name)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func declared(t *testing.T, pattern, expression string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	out := matches(text.String(), expression)
	if len(out) == 0 {
		t.Fatalf("%s declares nothing that matches %s", pattern, expression)
	}
	return out
}

// matches are the different texts of the first group, sorted.
func matches(text, expression string) []string {
	var out []string
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		out = append(out, match[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
