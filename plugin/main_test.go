package plugin

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The test binary stands for more programs: the plugin, which starts itself again inside of the lab, an Envoy whose
// configuration was broken on purpose, and a cluster with one pod that is probed.
const (
	asPluginEnv = "NETPROXY_TEST_AS_PLUGIN"
	faultEnv    = "NETPROXY_TEST_FAULT"
	probedEnv   = "NETPROXY_TEST_PROBED"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(faultEnv) != "":
		brokenEnvoy(os.Getenv(faultEnv))
	case os.Getenv(probedEnv) != "":
		os.Exit(lab.Main(probeInLab))
	case os.Getenv(asPluginEnv) != "":
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		os.Exit(Run(context.Background(), streams, "test", os.Args[1:]))
	}
	os.Exit(m.Run())
}

// result is what a run of the command line gave.
type result struct {
	out, err string
	code     int
}

// execute runs the command line with a clock that stands still and randomness that repeats itself.
func execute(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return executeWith(t.Context(), t, stdin, args...)
}

// executeWith does not wait where the program would: its clock runs instead.
func executeWith(ctx context.Context, t *testing.T, stdin string, args ...string) result {
	t.Helper()
	t.Setenv("KUBECONFIG", os.DevNull)
	streams, in, out, errOut := genericiooptions.NewTestIOStreams()
	in.WriteString(stdin)
	s := newShell(streams, "v0.0.0-test", args)
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	s.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	s.wait = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
		return ctx.Err()
	}
	s.rand = rand.NewChaCha8([32]byte{1})
	s.env = func(string) (string, bool) { return "", false }
	code := run(ctx, s)
	return result{out.String(), errOut.String(), code}
}

// transcript is the run as somebody in a terminal would see it.
func (r result) transcript(args []string) string {
	var b strings.Builder
	b.WriteString("$ kubectl netproxy")
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " *?&;") {
			arg = "'" + arg + "'"
		}
		b.WriteString(" " + arg)
	}
	b.WriteString("\n")
	b.WriteString(r.err)
	b.WriteString(r.out)
	if r.code != ExitGood {
		b.WriteString("(exit code " + string(rune('0'+r.code)) + ")\n")
	}
	return b.String()
}

// commands are the lines of a test file that begin with "# $ ", or the default. @ stands for the file.
func commands(t *testing.T, file, byDefault string) [][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "# $ "); ok {
			out = append(out, words(text, file))
		}
	}
	if len(out) == 0 {
		out = append(out, words(byDefault, file))
	}
	return out
}

// words splits like a shell that knows single quotes only.
func words(text, file string) []string {
	var out []string
	for i, quoted := range strings.Split(text, "'") {
		if i%2 == 1 {
			out = append(out, quoted)
			continue
		}
		out = append(out, strings.Fields(quoted)...)
	}
	for i, word := range out {
		if word == "@" {
			out[i] = file
		}
	}
	return out
}

// compare holds text against a golden file, or writes it.
func compare(t *testing.T, golden, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v: write it with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

// golden runs the commands of every file in a directory and compares the transcripts. Golden files without a test go.
func golden(t *testing.T, dir, byDefault string) {
	t.Chdir(filepath.Join("testdata", dir))
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			var b bytes.Buffer
			for _, args := range commands(t, file, byDefault) {
				b.WriteString(execute(t, "", args...).transcript(args))
			}
			compare(t, strings.TrimSuffix(file, ".yaml")+".txt", withoutRevisions(b.String()))
		})
	}
	orphans(t)
}

// withoutRevisions leaves out what the golden files of package xds hold: the four large files, and digests.
func withoutRevisions(text string) string {
	docs := strings.Split(text, "---\n")
	for i, doc := range docs {
		comment, _, _ := strings.Cut(doc, "\n")
		switch filepath.Base(comment) {
		case xds.BootstrapFile, xds.ListenersFile, xds.ClustersFile, xds.RoutesFile:
			docs[i] = comment + "\n(see the golden files of package xds)\n"
		}
	}
	return regexp.MustCompile(`versionInfo: "?[0-9a-f]{16}"?`).ReplaceAllString(strings.Join(docs, "---\n"), "versionInfo: (revision)")
}

func orphans(t *testing.T) {
	t.Helper()
	texts, err := filepath.Glob("*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := os.Stat(strings.TrimSuffix(text, ".txt") + ".yaml"); err == nil {
			continue
		}
		if !*update {
			t.Errorf("%s belongs to no test", text)
			continue
		}
		if err := os.Remove(text); err != nil {
			t.Error(err)
		}
	}
}

func TestExplain(t *testing.T) { golden(t, "explain", "explain -f @") }

func TestCreate(t *testing.T) { golden(t, "create", "") }

func TestConvert(t *testing.T) { golden(t, "convert", "convert -f @") }

func TestLearn(t *testing.T) { golden(t, "learn", "") }

func TestInject(t *testing.T) { golden(t, "inject", "inject -f @") }

func TestRender(t *testing.T) { golden(t, "render", "render -f @") }

// TestErrors also holds every error to leave nothing behind.
func TestErrors(t *testing.T) {
	before := listing(t, filepath.Join("testdata", "errors"))
	golden(t, "errors", "render -f @ --out out --ca ca")
	for name := range listing(t, ".") {
		if !before[name] && !strings.HasSuffix(name, ".txt") {
			t.Errorf("%s was left behind", name)
			_ = os.RemoveAll(name)
		}
	}
}

func listing(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, e := range entries {
		out[e.Name()] = true
	}
	return out
}
