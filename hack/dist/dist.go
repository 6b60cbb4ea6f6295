package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names in the output directory.
const (
	manifestFile  = "netproxy.yaml" // krew wants the plugin's name
	checksumsFile = "checksums.txt"
)

// What the plugin may weigh for linux/amd64, in bytes: people download it, and the kernel loads it for every command.
const (
	maxBinary  = 55e6
	maxArchive = 18e6
)

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func platforms() []platform {
	var out []platform
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			out = append(out, platform{system, arch})
		}
	}
	return out
}

func (p platform) binary() string {
	if p.os == "windows" {
		return "kubectl-netproxy.exe"
	}
	return "kubectl-netproxy"
}

func (p platform) archive(version string) string {
	extension := "tar.gz"
	if p.os == "windows" {
		extension = "zip"
	}
	return fmt.Sprintf("kubectl-netproxy_%s_%s_%s.%s", version, p.os, p.arch, extension)
}

type dist struct {
	version  string
	modified time.Time
	out      string
	build    func(ctx context.Context, p platform, version, file string) error
	log      io.Writer
}

func (d *dist) run(ctx context.Context) error {
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	template, err := os.ReadFile(".krew.yaml")
	if err != nil {
		return err
	}
	if err := d.empty(); err != nil {
		return err
	}
	sums := map[string]string{}
	for _, p := range platforms() {
		if sums[p.archive(d.version)], err = d.one(ctx, p, license); err != nil {
			return err
		}
	}
	manifest, err := renderManifest(string(template), d.version, sums)
	if err != nil {
		return err
	}
	if err := d.write(manifestFile, []byte(manifest)); err != nil {
		return err
	}
	return d.write(checksumsFile, checksums(sums))
}

func (d *dist) empty() error {
	if err := os.RemoveAll(d.out); err != nil {
		return err
	}
	return os.MkdirAll(d.out, 0o755)
}

// one builds and packs for one platform and returns the checksum of the archive.
func (d *dist) one(ctx context.Context, p platform, license []byte) (string, error) {
	work, err := os.MkdirTemp("", "netproxy-dist-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	file := filepath.Join(work, p.binary())
	if err := d.build(ctx, p, d.version, file); err != nil {
		return "", err
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	content := []entry{{"LICENSE", 0o644, license}, {p.binary(), 0o755, binary}}
	pack := tarball
	if p.os == "windows" {
		pack = zipped
	}
	archive, err := pack(content, d.modified)
	if err != nil {
		return "", fmt.Errorf("pack for %s: %w", p, err)
	}
	fmt.Fprintf(d.log, "%-44s %5.1f MB, unpacked %5.1f MB\n", p.archive(d.version), float64(len(archive))/1e6, float64(len(binary))/1e6)
	if err := tooLarge(p, len(binary), len(archive)); err != nil {
		return "", err
	}
	sum := sha256.Sum256(archive)
	return hex.EncodeToString(sum[:]), d.write(p.archive(d.version), archive)
}

func tooLarge(p platform, binary, archive int) error {
	if p != (platform{"linux", "amd64"}) {
		return nil
	}
	if binary > maxBinary || archive > maxArchive {
		return fmt.Errorf("the plugin has %.1f MB, compressed %.1f MB; at most %.0f and %.0f are allowed: see with go list -deps ./cmd/kubectl-netproxy what it links",
			float64(binary)/1e6, float64(archive)/1e6, maxBinary/1e6, maxArchive/1e6)
	}
	return nil
}

func (d *dist) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(d.out, name), data, 0o644)
}

// checksums are in the format of sha256sum.
func checksums(sums map[string]string) []byte {
	var lines []string
	for name, sum := range sums {
		lines = append(lines, sum+"  "+name+"\n")
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[sha256.Size*2:], b[sha256.Size*2:]) })
	return []byte(strings.Join(lines, ""))
}
