package plugin

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTroubleshooting: every code that check can give is explained, and no other.
func TestTroubleshooting(t *testing.T) {
	explained := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^### (NP\d{3})$`).FindAllStringSubmatch(read(t, "../docs/troubleshooting.md"), -1) {
		explained[match[1]] = true
	}
	sources, err := filepath.Glob("check*.go")
	if err != nil || len(sources) < 3 {
		t.Fatalf("%v: %v", sources, err)
	}
	given := map[string]bool{}
	for _, source := range sources {
		for _, code := range regexp.MustCompile(`"(NP\d{3})"`).FindAllStringSubmatch(read(t, source), -1) {
			given[code[1]] = true
		}
	}
	for code := range given {
		if !explained[code] {
			t.Errorf("docs/troubleshooting.md does not explain %s", code)
		}
	}
	for code := range explained {
		if !given[code] {
			t.Errorf("docs/troubleshooting.md explains %s, which check never gives", code)
		}
	}
}

// TestDocumentedCommands: verbs and flags that the documentation names exist.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 3 {
		t.Fatalf("%v: %v", pages, err)
	}
	root := newCommand(newShell(discard(), "", nil))
	for _, page := range append(pages, "../README.md") {
		text := strings.ReplaceAll(read(t, page), "\\\n", " ")
		for _, match := range regexp.MustCompile("kubectl netproxy ([a-z][^`\n|>#&─]+)").FindAllStringSubmatch(text, -1) {
			cmd, rest, err := root.Find(strings.Fields(match[1]))
			if err != nil || cmd == root {
				t.Errorf("%s: there is no %q", page, match[0])
				continue
			}
			for _, word := range rest {
				name, isFlag := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				if isFlag && name != "help" && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: %q has no flag --%s", page, match[0], name)
				}
			}
		}
	}
}
