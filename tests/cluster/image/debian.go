package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// debian is the frame that Debian's packages stand in: /bin and the like are links into /usr.
type debian struct{}

func (debian) prepare(context.Context, workshop) (part, error) {
	var list []file
	for _, name := range merged() {
		list = append(list, file{path: "/usr/" + name + "/", mode: 0o755}, file{path: "/" + name, link: "usr/" + name})
	}
	list = append(list, passwd()...)
	return files(append(list, file{path: "/tmp/", mode: 0o1777})...), nil
}

func merged() []string { return []string{"bin", "sbin", "lib", "lib64"} }

// packages are Debian's packages with all that they depend on, but for what the packages of without bring already. They
// are unpacked; their scripts do not run.
type packages struct{ add, without []string }

func (p packages) prepare(ctx context.Context, w workshop) (part, error) {
	debs, err := closure(ctx, w, p.add)
	if err != nil {
		return part{}, err
	}
	if len(p.without) > 0 {
		have, err := closure(ctx, w, p.without)
		if err != nil {
			return part{}, err
		}
		debs = slices.DeleteFunc(debs, func(d string) bool { return slices.Contains(have, d) })
	}
	sum := sha256.Sum256([]byte(strings.Join(debs, "\n"))) // the names have versions
	return part{id: hex.EncodeToString(sum[:]), write: func(t *tree) error {
		for _, deb := range debs {
			if err := unpack(ctx, filepath.Join(w.debs(), deb), t); err != nil {
				return fmt.Errorf("unpack %s: %w", deb, err)
			}
		}
		return nil
	}}, nil
}

func (w workshop) debs() string { return filepath.Join(w.dir, "debs") }

// closure downloads packages with their dependencies, as for an empty system, and returns the files in order.
func closure(ctx context.Context, w workshop, names []string) ([]string, error) {
	for _, dir := range []string{"partial", "none/partial"} {
		if err := os.MkdirAll(filepath.Join(w.debs(), dir), 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(w.debs(), "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	out, err := planned(ctx, w, names)
	if err != nil { // a machine that has no list of packages yet, or an old one
		if err := runQuietly(exec.CommandContext(ctx, "apt-get", "-qq", "update")); err != nil {
			return nil, err
		}
		out, err = planned(ctx, w, names)
	}
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(out, func(deb string) bool { _, err := os.Stat(filepath.Join(w.debs(), deb)); return err != nil }) {
		_, err = apt(ctx, w, w.debs(), append([]string{"--download-only"}, names...)...)
	}
	return out, err
}

// planned are the files of packages and their dependencies. apt-get lists those that it has not got: it is shown an empty
// directory.
func planned(ctx context.Context, w workshop, names []string) ([]string, error) {
	list, err := apt(ctx, w, filepath.Join(w.debs(), "none"), append([]string{"--print-uris"}, names...)...)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line) // 'URI' file size checksum
		if len(fields) < 3 || !strings.HasSuffix(fields[1], ".deb") {
			continue
		}
		out = append(out, fields[1])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("apt-get knows no files for %v", names)
	}
	slices.Sort(out)
	return out, nil
}

// apt plans an installation on an empty system. It changes nothing but the directory archives.
func apt(ctx context.Context, w workshop, archives string, args ...string) (string, error) {
	base := []string{
		"-qq", "-y", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o", "APT::Immediate-Configure=false",
		"-o", "Dir::State::status=" + w.debs() + "/status", "-o", "Dir::Cache::archives=" + archives,
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "install",
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "apt-get", append(base, args...)...)
	cmd.Stdout = &out
	err := runQuietly(cmd)
	return out.String(), err
}

// unpack copies a package's files into t. Documentation is left out.
func unpack(ctx context.Context, deb string, t *tree) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	copyErr := copyTar(tar.NewReader(pipe), t)
	_, drainErr := io.Copy(io.Discard, pipe)
	return errors.Join(copyErr, drainErr, cmd.Wait())
}

func copyTar(from *tar.Reader, t *tree) error {
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = merge(h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = merge(h.Linkname)
		}
		if skipped(h.Name) || h.Typeflag == tar.TypeDir && t.seen[h.Name] {
			continue
		}
		t.seen[h.Name] = true
		h.Format, h.PAXRecords = tar.FormatPAX, nil
		if err := t.tar.WriteHeader(h); err != nil {
			return err
		}
		if err := t.copyFile(h.Name, from); err != nil {
			return err
		}
	}
}

// copyFile keeps the certificates, from which the trust store is made.
func (t *tree) copyFile(name string, from io.Reader) error {
	var kept bytes.Buffer
	to := io.Writer(t.tar)
	if strings.HasPrefix(name, certificates) {
		to = io.MultiWriter(t.tar, &kept)
	}
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if kept.Len() > 0 {
		t.read[name] = kept.Bytes()
	}
	return nil
}

// merge gives a path its place below /usr.
func merge(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "."), "/")
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged(), first) {
		return "usr/" + name
	}
	return name
}

func skipped(name string) bool {
	for _, prefix := range []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "" || slices.Contains([]string{"usr/bin/", "usr/sbin/", "usr/lib/", "usr/lib64/"}, name)
}
