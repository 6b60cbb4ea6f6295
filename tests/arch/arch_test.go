// Package arch holds the directions of the dependencies: cmd → plugin, webhook → webhook/inject, xds, mitm → api.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	module = "github.com/netproxy/netproxy/"
	root   = "../.."
)

// rule forbids the packages below from to need others. Patterns cover what is below them, but for those that end in $.
type rule struct {
	from, except string
	imports      []string // not imported by the package itself
	deps         []string // not imported by anything that it needs either
}

var (
	inputOutput = []string{"os", "io/ioutil", "syscall", "net$", "net/http", "log$", "crypto/rand", "math/rand", "golang.org/x/sys", "google.golang.org/grpc"}
	apiServer   = []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	terminal    = []string{"github.com/charmbracelet", "charm.land", "github.com/muesli/termenv"}
)

func rules() []rule {
	own := func(names ...string) []string {
		for i := range names {
			names[i] = module + names[i]
		}
		return names
	}
	return []rule{
		{from: "api", deps: slices.Concat(own("cmd", "plugin", "webhook", "xds", "mitm"), apiServer)},
		{from: "xds", imports: inputOutput, deps: slices.Concat(own("cmd", "plugin", "webhook", "mitm"), apiServer)},
		{from: "mitm", imports: inputOutput, deps: slices.Concat(own("cmd", "plugin", "webhook", "xds"), apiServer)},
		{from: "webhook/inject", imports: inputOutput, deps: slices.Concat(own("cmd", "plugin", "webhook$"), apiServer)},
		{from: "webhook", deps: own("cmd", "plugin")},
		{from: "plugin", deps: append(own("cmd", "webhook$"), "sigs.k8s.io/controller-runtime")},
		// Every pod waits for it, and its memory counts into each pod's requests.
		{from: "cmd/netproxy-init", deps: []string{"k8s.io", "sigs.k8s.io", "github.com/envoyproxy", "google.golang.org", "net/http$"}},
		{from: "cmd", imports: slices.Concat(own("api", "xds", "mitm"), apiServer)},
		{from: "", except: "plugin/internal/ui", imports: terminal},
	}
}

// pkg is the part of the output of go list that the rules are about.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestDependencies(t *testing.T) {
	packages := list(t)
	if len(packages) == 0 {
		t.Fatal("go list names no package of this module")
	}
	for _, v := range violations(rules(), packages) {
		t.Error(v)
	}
}

// TestRulesFind is the positive control: every rule finds what it forbids.
func TestRulesFind(t *testing.T) {
	for _, r := range rules() {
		for _, pattern := range slices.Concat(r.imports, r.deps) {
			bad := strings.TrimSuffix(pattern, "$")
			if !strings.HasSuffix(pattern, "$") {
				bad += "/below"
			}
			p := pkg{ImportPath: module + strings.TrimPrefix(r.from+"/x", "/"), Imports: []string{bad}, Deps: []string{bad}}
			if len(violations([]rule{r}, []pkg{p})) == 0 {
				t.Errorf("below %q, %s is not found", r.from, bad)
			}
		}
	}
	fine := []pkg{
		{ImportPath: module + "mitm", Imports: []string{"net/netip", "io", module + "api/v1alpha1"}, Deps: []string{"os", "net"}},
		{ImportPath: module + "plugin/internal/ui", Imports: []string{"github.com/charmbracelet/lipgloss"}},
		{ImportPath: module + "plugin", Deps: []string{module + "webhook/inject"}},
		{ImportPath: module + "xdsfoo", Imports: []string{"os"}},
	}
	if diff := cmp.Diff([]string(nil), violations(rules(), fine)); diff != "" {
		t.Errorf("found where nothing is forbidden:\n%s", diff)
	}
}

func violations(rules []rule, packages []pkg) []string {
	var found []string
	for _, p := range packages {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		for _, r := range rules {
			if !ours || !below(path, r.from) || r.except != "" && below(path, r.except) {
				continue
			}
			found = append(found, forbidden(p.ImportPath, "imports", p.Imports, r.imports)...)
			found = append(found, forbidden(p.ImportPath, "needs", p.Deps, r.deps)...)
		}
	}
	return found
}

func forbidden(from, verb string, paths, patterns []string) []string {
	var found []string
	for _, path := range paths {
		for _, pattern := range patterns {
			if matches(path, pattern) && path != from {
				found = append(found, fmt.Sprintf("%s %s %s, which the layout forbids", from, verb, path))
			}
		}
	}
	return found
}

func matches(path, pattern string) bool {
	if exact, ok := strings.CutSuffix(pattern, "$"); ok {
		return path == exact
	}
	return below(path, pattern)
}

func below(path, directory string) bool {
	return directory == "" || path == directory || strings.HasPrefix(path, directory+"/")
}

// list asks go list for all packages of the module, without their tests.
func list(t *testing.T) []pkg {
	t.Helper()
	touch(t)
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			packages = append(packages, p)
		}
	}
}

// touch makes the cache of go test depend on the files that go list reads.
func touch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
