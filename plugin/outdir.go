package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/netproxy/netproxy/xds"
)

// Keys and credentials are in these files.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// markerFile lists what render has written, so that a later run can replace that and nothing else.
const markerFile = ".netproxy-render.json"

// outDir is where rendered files go.
type outDir struct {
	dir   string // absolute
	given string // as the user wrote it
}

func (o outDir) paths() xds.Paths {
	return xds.Paths{Config: o.dir, TLS: filepath.Join(o.dir, "tls"), Run: filepath.Join(o.dir, "run")}
}

func (o outDir) name(file xds.File) string {
	if file.Place == xds.InTLS {
		return filepath.Join("tls", file.Name)
	}
	return file.Name
}

// check refuses to replace a directory that holds anything that is not render's own.
func (o outDir) check() error {
	entries, err := os.ReadDir(o.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(o.dir, markerFile))
	if err != nil {
		return fmt.Errorf("--out %s: the directory has files and %w: name a new or empty one", o.given, errForeign)
	}
	var own []string
	if err := json.Unmarshal(data, &own); err != nil {
		return fmt.Errorf("--out %s: reading %s: %w: name a new or empty directory", o.given, markerFile, err)
	}
	return o.checkOwn(append(own, markerFile, filepath.Join("run", xds.AdminSocket)))
}

func (o outDir) checkOwn(own []string) error {
	return filepath.WalkDir(o.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		name, err := filepath.Rel(o.dir, path)
		if err != nil || entry.IsDir() || slices.Contains(own, name) {
			return err
		}
		return fmt.Errorf("--out %s: %s %w: move it away, or name another directory", o.given, name, errForeign)
	})
}

// write makes the directory beside its place and moves it there when it is complete.
func (o outDir) write(files xds.Files, extra map[string][]byte) error {
	parent := filepath.Dir(o.dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	fresh, err := os.MkdirTemp(parent, "."+filepath.Base(o.dir)+".")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := o.fill(fresh, files, extra); err != nil {
		return errors.Join(fmt.Errorf("--out %s: %w", o.given, err), os.RemoveAll(fresh))
	}
	if err := o.replace(fresh); err != nil {
		return errors.Join(fmt.Errorf("--out %s: %w", o.given, err), os.RemoveAll(fresh))
	}
	return nil
}

func (o outDir) fill(fresh string, files xds.Files, extra map[string][]byte) error {
	content := map[string][]byte{}
	for _, file := range files {
		content[o.name(file)] = file.Data
	}
	for name, data := range extra {
		content[name] = data
	}
	var names []string
	for name := range content {
		names = append(names, name)
	}
	slices.Sort(names)
	marker, err := json.Marshal(names)
	if err != nil {
		return err
	}
	content[markerFile] = marker
	for _, dir := range []string{"tls", "run"} {
		if err := os.Mkdir(filepath.Join(fresh, dir), dirMode); err != nil {
			return err
		}
	}
	for name, data := range content {
		if err := createFile(filepath.Join(fresh, name), data); err != nil {
			return err
		}
	}
	return nil
}

// replace moves an old directory aside, and back if the new one cannot take its place.
func (o outDir) replace(fresh string) error {
	old := fresh + ".old"
	err := os.Rename(o.dir, old)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(fresh, o.dir)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(fresh, o.dir); err != nil {
		return errors.Join(err, os.Rename(old, o.dir))
	}
	return os.RemoveAll(old)
}
