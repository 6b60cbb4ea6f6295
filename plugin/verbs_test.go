package plugin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/xds"
)

// examples writes the example policies to a directory and returns their paths.
func examples(t *testing.T) []string {
	t.Helper()
	from, err := manifests.Examples()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, from); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) < 12 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	return files
}

// TestExamples renders and explains every example, and holds the chains of both together.
func TestExamples(t *testing.T) {
	for _, file := range append(examples(t), filepath.Join("testdata", "explain", "design.yaml"), filepath.Join("testdata", "explain", "default-allow.yaml")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			if r := execute(t, "", "render", "-f", file, "--out", out); r.code != ExitGood {
				t.Fatalf("render: %d\n%s", r.code, r.err)
			}
			samePrinted(t, out, execute(t, "", "render", "-f", file))
			explained := execute(t, "", "explain", "-f", file)
			if explained.code != ExitGood {
				t.Fatalf("explain: %d\n%s", explained.code, explained.err)
			}
			described := describedChains(t, file)
			if diff := cmp.Diff(renderedChains(t, out), described); diff != "" {
				t.Errorf("chains (-rendered +described):\n%s", diff)
			}
			for _, chain := range described {
				if !strings.Contains(explained.out, "chain "+chain) {
					t.Errorf("explain does not show chain %s:\n%s", chain, explained.out)
				}
			}
		})
	}
}

// samePrinted holds the printed documents against the written files: YAML of the same names, the same but for paths and
// secrets.
func samePrinted(t *testing.T, dir string, r result) {
	t.Helper()
	docs := strings.Split(r.out, "---\n# ")[1:]
	if r.code != ExitGood || len(docs) < 5 {
		t.Fatalf("%d documents: %d\n%s", len(docs), r.code, r.err)
	}
	for _, doc := range docs {
		comment, body, _ := strings.Cut(doc, "\n")
		name, _, _ := strings.Cut(strings.TrimPrefix(comment, xds.SidecarPaths().Config+"/"), " ")
		var printed, written any
		if err := yaml.Unmarshal([]byte(body), &printed); err != nil || printed == nil {
			t.Errorf("%s: no YAML: %v", name, err)
		}
		if name != xds.RoutesFile {
			_ = read(t, filepath.Join(dir, name))
			continue
		}
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(dir, name))), &written); err != nil {
			t.Fatal(err)
		}
		ignoreRevision := cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.GoString(), "versionInfo") }, cmp.Ignore())
		if diff := cmp.Diff(written, printed, ignoreRevision); diff != "" {
			t.Errorf("%s (-written +printed):\n%s", name, diff)
		}
	}
}

// renderedChains are the names of the filter chains in the files, without digests.
func renderedChains(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, xds.ListenersFile))
	if err != nil {
		t.Fatal(err)
	}
	var lds struct {
		Resources []struct{ FilterChains []struct{ Name string } }
	}
	if err := json.Unmarshal(data, &lds); err != nil || len(lds.Resources) == 0 {
		t.Fatalf("%d listeners: %v", len(lds.Resources), err)
	}
	var out []string
	for _, chain := range lds.Resources[0].FilterChains {
		name, _, _ := strings.Cut(chain.Name, "#")
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func describedChains(t *testing.T, file string) []string {
	t.Helper()
	s := newShell(discard(), "", nil)
	c, err := (&policyOptions{Filenames: []string{file}}).load(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, step := range c.plan.Describe(xds.DualStack).Steps {
		for _, entry := range step.Entries {
			out = append(out, entry.Chain)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const canary = "canary-4bd1f0c2a97e"

// TestCanary looks for a credential in everything that is printed. The positive control finds it in the written files.
func TestCanary(t *testing.T) {
	policy := filepath.Join("testdata", "render", "secret.yaml")
	data, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("not-a-real-token")) {
		t.Fatal("the policy has no Secret to put the canary into")
	}
	dir := t.TempDir()
	file, out := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, bytes.ReplaceAll(data, []byte("not-a-real-token"), []byte(canary)), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, bytes.ReplaceAll(data, []byte("not-a-real-token"), []byte(canary+", token: [")), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "https://api.example.com/"
	for _, args := range [][]string{
		{"render", "-f", file}, {"render", "-f", file, "--out", out}, {"explain", "-f", file}, {"explain", "-f", file, "-o", "json"},
		{"explain", "-f", file, url}, {"explain", "-f", file, url, "-o", "yaml"}, {"render", "-f", broken},
		{"render", "-f", file, "--out", dir}, {"version"}, {"completion", "kubectl"},
	} {
		r := execute(t, "", args...)
		if found := leaks(r.out + r.err); found {
			t.Errorf("%v prints the credential", args)
		}
	}
	found := 0
	err = filepath.WalkDir(out, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if leaks(string(data)) {
			found++
		}
		return err
	})
	if err != nil || found != 1 {
		t.Errorf("the credential is in %d written files, want one: %v", found, err)
	}
}

func leaks(text string) bool {
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	return strings.Contains(text, canary) || strings.Contains(text, strings.TrimRight(encoded, "=")[:12])
}

// TestOut: files for one reader, replaced as a whole, and nothing of others touched.
func TestOut(t *testing.T) {
	policy := filepath.Join("testdata", "render", "secret.yaml")
	dir := t.TempDir()
	out, ca := filepath.Join(dir, "out"), filepath.Join(dir, "ca")
	good := func(args ...string) result {
		t.Helper()
		r := execute(t, "", append([]string{"render", "-f", policy, "--out", out}, args...)...)
		if r.code != ExitGood {
			t.Fatalf("%d: %s", r.code, r.err)
		}
		return r
	}
	good("--ca", ca)
	checkModes(t, dir)
	first := read(t, filepath.Join(out, "ca.crt"))
	good("--ca", ca)
	if second := read(t, filepath.Join(out, "ca.crt")); second != first {
		t.Error("--ca does not keep the CA")
	}
	if entries := listing(t, dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	if text := read(t, filepath.Join(out, "bootstrap.yaml")); !strings.Contains(text, filepath.Join(out, "run", "admin.sock")) {
		t.Errorf("the bootstrap does not point into %s:\n%s", out, text)
	}
	foreign := filepath.Join(out, "notes.txt")
	write(t, foreign, "mine")
	if r := execute(t, "", "render", "-f", policy, "--out", out); r.code != ExitFailed || !strings.Contains(r.err, "notes.txt was not written by this command") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	if read(t, foreign) != "mine" {
		t.Error("a file of somebody else's was changed")
	}
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBrokenCA: what cannot be used is an error and stays as it is.
func TestBrokenCA(t *testing.T) {
	policy := filepath.Join("testdata", "render", "secret.yaml")
	for _, tc := range []struct {
		name  string
		spoil func(dir string)
	}{
		{"no key", func(dir string) { _ = os.Remove(filepath.Join(dir, "ca.key")) }},
		{"no certificate", func(dir string) { _ = os.Remove(filepath.Join(dir, "ca.crt")) }},
		{"damaged", func(dir string) { _ = os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("nothing"), 0o600) }},
		{"another key", func(dir string) {
			other := filepath.Join(dir, "other")
			_ = os.Mkdir(other, 0o700)
			streams := discard()
			_ = run(t.Context(), newShell(streams, "", []string{"render", "-f", policy, "--out", filepath.Join(other, "out"), "--ca", other}))
			_ = os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			ca, out := filepath.Join(dir, "ca"), filepath.Join(dir, "out")
			if r := execute(t, "", "render", "-f", policy, "--out", out, "--ca", ca); r.code != ExitGood {
				t.Fatal(r.err)
			}
			before := read(t, filepath.Join(out, "tls", "leaf.crt"))
			tc.spoil(ca)
			left := listing(t, ca)
			r := execute(t, "", "render", "-f", policy, "--out", out, "--ca", ca)
			if r.code != ExitFailed || !strings.Contains(r.err, "restore the file") {
				t.Errorf("%d: %s", r.code, r.err)
			}
			if diff := cmp.Diff(left, listing(t, ca)); diff != "" {
				t.Errorf("the CA's directory changed:\n%s", diff)
			}
			if after := read(t, filepath.Join(out, "tls", "leaf.crt")); after != before {
				t.Error("the output changed")
			}
		})
	}
}

// TestTooLarge: a policy that no Secret can hold is refused before anything is written.
func TestTooLarge(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: netproxy.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: large, namespace: demo}\nspec:\n  egress:\n    defaultAction: Deny\n    rules:\n")
	for i := range 4000 {
		fmt.Fprintf(&b, "    - {name: rule-%d-with-a-rather-long-name, action: Allow, hosts: [host-%d.example.com], ports: [{port: %d}], http: [{paths: [{prefix: /a/%d/}]}]}\n", i, i, i+1, i)
	}
	out := filepath.Join(t.TempDir(), "out")
	r := execute(t, b.String(), "render", "-f", "-", "--out", out)
	if r.code != ExitFailed || !strings.Contains(r.err, "a Secret holds 1048576: use fewer") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	if entries := listing(t, filepath.Dir(out)); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestVersion(t *testing.T) {
	if r := execute(t, "", "version"); r.out != "kubectl-netproxy v0.0.0-test\n" {
		t.Errorf("%q", r.out)
	}
	var v versionOutput
	if r := execute(t, "", "version", "-o", "json"); json.Unmarshal([]byte(r.out), &v) != nil || v.Version != "v0.0.0-test" || v.Platform == "" {
		t.Errorf("%s", r.out)
	}
}

func TestCompletion(t *testing.T) {
	for shell, want := range map[string]string{"kubectl": "__complete", "bash": "complete -o default", "zsh": "#compdef", "fish": "complete -c", "powershell": "Register-ArgumentCompleter"} {
		if r := execute(t, "", "completion", shell); r.code != ExitGood || !strings.Contains(r.out, want) {
			t.Errorf("%s: %d, %d bytes", shell, r.code, len(r.out))
		}
	}
	if r := execute(t, "", "__complete", "comp"); !strings.Contains(r.out, "completion") {
		t.Errorf("nothing completes: %s%s", r.out, r.err)
	}
}

func TestHelp(t *testing.T) {
	verbs := []string{"", "create policy"}
	for _, cmd := range newCommand(newShell(discard(), "", nil)).Commands() {
		if cmd.IsAvailableCommand() {
			verbs = append(verbs, cmd.Name())
		}
	}
	for _, verb := range verbs {
		r := execute(t, "", append(strings.Fields(verb), "--help")...)
		if r.code != ExitGood || !strings.Contains(r.out, "kubectl netproxy") || !strings.Contains(r.out, "Examples:") {
			t.Errorf("%q: %d\n%s", verb, r.code, r.out)
		}
	}
}
