package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// manifest is what krew reads (krew.googlecontainertools.github.com/v1alpha2).
type manifest struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       struct {
		Version          string `json:"version"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		Homepage         string `json:"homepage"`
		Platforms        []struct {
			URI      string               `json:"uri"`
			SHA256   string               `json:"sha256"`
			Selector metav1.LabelSelector `json:"selector"`
			Bin      string               `json:"bin"`
		} `json:"platforms"`
	} `json:"spec"`
}

// run packs small programs instead of built ones.
func run(t *testing.T, version string) string {
	t.Helper()
	t.Chdir("../..")
	out := filepath.Join(t.TempDir(), "dist")
	fake := func(_ context.Context, p platform, version, file string) error {
		return os.WriteFile(file, []byte("the program for "+p.String()+" in "+version), 0o700)
	}
	d := &dist{version: version, modified: time.Unix(1700000000, 0).UTC(), out: out, build: fake, log: io.Discard}
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestManifest asks what krew's validation asks (pkg/index/validation).
func TestManifest(t *testing.T) {
	out := run(t, "v1.2.3")
	var m manifest
	if err := yaml.UnmarshalStrict(read(t, out, manifestFile), &m); err != nil {
		t.Fatal(err)
	}
	got := []string{m.APIVersion, m.Kind, m.Metadata.Name, m.Spec.Version}
	if diff := cmp.Diff([]string{"krew.googlecontainertools.github.com/v1alpha2", "Plugin", "netproxy", "v1.2.3"}, got); diff != "" {
		t.Error(diff)
	}
	if s := m.Spec; s.ShortDescription == "" || strings.ContainsAny(s.ShortDescription, "\r\n") || len(s.ShortDescription) > 50 || s.Homepage == "" {
		t.Errorf("short description %q, homepage %q", s.ShortDescription, s.Homepage)
	}
	for _, p := range platforms() {
		found := 0
		for _, entry := range m.Spec.Platforms {
			selector, err := metav1.LabelSelectorAsSelector(&entry.Selector)
			if err != nil {
				t.Fatal(err)
			}
			if !selector.Matches(labels.Set{"os": p.os, "arch": p.arch}) {
				continue
			}
			found++
			name := path.Base(entry.URI)
			sum := sha256.Sum256(read(t, out, name))
			if hex.EncodeToString(sum[:]) != entry.SHA256 {
				t.Errorf("%s: the sum in the manifest is not the archive's", p)
			}
			files := unpack(t, read(t, out, name))
			if files[entry.Bin] != "the program for "+p.String()+" in v1.2.3" || !strings.Contains(files["LICENSE"], "Apache License") || len(files) != 2 {
				t.Errorf("%s: %s holds %q", p, name, files[entry.Bin])
			}
		}
		if found != 1 {
			t.Errorf("%s is selected %d times", p, found)
		}
	}
}

func TestTwiceTheSame(t *testing.T) {
	first, second := contents(t, run(t, "v1.2.3")), contents(t, runAgain(t, "v1.2.3"))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if other := contents(t, runAgain(t, "v1.2.4")); cmp.Equal(first, other) {
		t.Error("another version is the same: the comparison finds nothing")
	}
}

// runAgain is run in a test that is in the root already.
func runAgain(t *testing.T, version string) string {
	t.Helper()
	t.Chdir("hack/dist")
	return run(t, version)
}

// TestWorkflow: the release uploads dist/*, so that what it adds must not replace the manifest for krew.
func TestWorkflow(t *testing.T) {
	data, err := os.ReadFile("../../.github/workflows/release.yaml")
	if err != nil {
		t.Fatal(err)
	}
	added := regexp.MustCompile(`dist/([a-z]+\.yaml)`).FindAllStringSubmatch(string(data), -1)
	if len(added) == 0 {
		t.Error("the workflow adds no manifests to dist")
	}
	for _, match := range added {
		if match[1] == manifestFile {
			t.Errorf("the workflow writes over dist/%s, which is krew's", manifestFile)
		}
	}
}

func TestSums(t *testing.T) {
	out := run(t, "v1.2.3")
	lines := strings.Split(strings.TrimSpace(string(read(t, out, checksumsFile))), "\n")
	if len(lines) != len(platforms()) {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		want, name, _ := strings.Cut(line, "  ")
		if sum := sha256.Sum256(read(t, out, name)); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: another sum", name)
		}
	}
}

func TestTooLarge(t *testing.T) {
	linux := platform{"linux", "amd64"}
	for _, c := range []struct {
		p               platform
		binary, archive int
		bad             bool
	}{
		{linux, maxBinary, maxArchive, false}, {linux, maxBinary + 1, 1, true}, {linux, 1, maxArchive + 1, true},
		{platform{"darwin", "arm64"}, maxBinary + 1, maxArchive + 1, false},
	} {
		if err := tooLarge(c.p, c.binary, c.archive); (err != nil) != c.bad {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestReleaseVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3-4-gabcdef0-dirty": "v1.2.3-4-gabcdef0-dirty", "0123456": "v0.0.0-g0123456", "": "v0.0.0-g",
		"unknown": "v0.0.0-gunknown", "a+b c": "v0.0.0-ga-b-c",
	} {
		if got := releaseVersion(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range glob(t, dir) {
		out[filepath.Base(name)] = string(read(t, dir, filepath.Base(name)))
	}
	return out
}

func glob(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	return names
}

func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	if archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil {
		for _, f := range archive.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			out[f.Name] = string(text)
		}
		return out
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(text)
	}
}
