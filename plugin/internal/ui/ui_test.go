package ui

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charmbracelet/lipgloss"
	"github.com/google/go-cmp/cmp"
)

func environment(pairs ...string) Environment {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestColored(t *testing.T) {
	for _, tc := range []struct {
		name     string
		env      Environment
		mode     ColorMode
		terminal bool
		want     bool
	}{
		{"a terminal", environment(), ColorAuto, true, true},
		{"a pipe", environment(), ColorAuto, false, false},
		{"NO_COLOR", environment("NO_COLOR", "1"), ColorAuto, true, false},
		{"empty NO_COLOR", environment("NO_COLOR", ""), ColorAuto, true, true},
		{"force", environment("CLICOLOR_FORCE", "1"), ColorAuto, false, true},
		{"force does not beat NO_COLOR", environment("NO_COLOR", "1", "CLICOLOR_FORCE", "1"), ColorAuto, true, false},
		{"no force", environment("CLICOLOR_FORCE", "0"), ColorAuto, false, false},
		{"CLICOLOR=0", environment("CLICOLOR", "0"), ColorAuto, true, false},
		{"dumb", environment("TERM", "dumb"), ColorAuto, true, false},
		{"the flag beats NO_COLOR", environment("NO_COLOR", "1"), ColorAlways, false, true},
		{"never", environment("CLICOLOR_FORCE", "1"), ColorNever, true, false},
	} {
		if got := colored(tc.env, tc.mode, tc.terminal); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}

func TestColorsReachTheText(t *testing.T) {
	plain := New(&bytes.Buffer{}, environment(), ColorNever).Mark(Bad, "LEAK")
	if plain != "✗ LEAK" {
		t.Errorf("without colours: %q", plain)
	}
	if painted := New(&bytes.Buffer{}, environment(), ColorAlways).Mark(Bad, "LEAK"); painted == plain || !strings.Contains(painted, "\x1b[") {
		t.Errorf("with colours: %q", painted)
	}
}

func sample() Node {
	root := Node{Text: "policy"}
	a := root.Add("a chain", "spec.mitm.domains[0]")
	a.Add("a rule with a text that is longer than a narrow terminal is wide", "spec.egress.rules[0]")
	a.Add("another", "")
	root.Add("end", "")
	return root
}

func TestTree(t *testing.T) {
	u := New(&bytes.Buffer{}, environment(), ColorNever)
	want := strings.TrimLeft(`
policy
├── a chain  spec.mitm.domains[0]
│   ├── a rule with a text that is longer than a narrow terminal is wide  spec.egress.rules[0]
│   └── another
└── end
`, "\n")
	if diff := cmp.Diff(want, u.Tree(sample())); diff != "" {
		t.Error(diff)
	}
}

func TestNarrow(t *testing.T) {
	u := New(&bytes.Buffer{}, environment(), ColorNever).WithWidth(40)
	rows := [][]string{{"one", strings.Repeat("long words ", 8), "end"}}
	for _, text := range []string{u.Tree(sample()), u.Table([]string{"A", "B", "C"}, rows)} {
		for line := range strings.Lines(text) {
			if w := lipgloss.Width(strings.TrimRight(line, "\n")); w > 40 {
				t.Errorf("%d columns: %q", w, line)
			}
		}
	}
	if got := u.Table([]string{"A", "B", "C"}, rows); strings.Count(got, "long") != 8 || !strings.Contains(got, "end") {
		t.Errorf("something is lost:\n%s", got)
	}
}

func TestTable(t *testing.T) {
	u := New(&bytes.Buffer{}, environment(), ColorNever)
	want := "NAME       RESULT\nfirst      ✓ PASS\na long one ✗ LEAK\n"
	want = strings.ReplaceAll(want, "first      ", "first       ")
	want = strings.ReplaceAll(want, "NAME       ", "NAME        ")
	want = strings.ReplaceAll(want, "a long one ", "a long one  ")
	got := u.Table([]string{"NAME", "RESULT"}, [][]string{{"first", "✓ PASS"}, {"a long one", "✗ LEAK"}})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseColorMode(t *testing.T) {
	if _, err := ParseColorMode("sometimes"); err == nil {
		t.Error("sometimes is taken for a mode")
	}
	if mode, err := ParseColorMode("never"); err != nil || mode != ColorNever {
		t.Errorf("%q, %v", mode, err)
	}
}
