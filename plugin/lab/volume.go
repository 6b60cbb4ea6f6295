package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// linkDelay is what a busy node may need between the two steps of publish.
const linkDelay = 5 * time.Millisecond

// volume is a directory that is written as the kubelet's AtomicWriter does it
// (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go): the files lie in a
// directory with a timestamp, ..data is a symlink to it, the visible names are
// symlinks into ..data, and an update renames a new ..data over the old one.
type volume struct {
	dir string
	uid int // owner of the files
	gid int
	// keep are names that belong to somebody else (mount points).
	keep []string
}

// write replaces the content. Nothing happens when it is the same already, as
// in the kubelet.
func (v volume) write(files map[string][]byte) error {
	old, err := os.Readlink(filepath.Join(v.dir, "..data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read volume %s: %w", v.dir, err)
	}
	if old != "" && v.same(files) {
		return nil
	}
	fresh, err := os.MkdirTemp(v.dir, "..2006_01_02_15_04_05.")
	if err != nil {
		return fmt.Errorf("make a new version of volume %s: %w", v.dir, err)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return fmt.Errorf("open volume %s: %w", v.dir, err)
	}
	for name, data := range files {
		if err := v.put(filepath.Join(fresh, name), data); err != nil {
			return err
		}
	}
	return v.publish(filepath.Base(fresh), old, files)
}

func (v volume) put(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Chown(path, v.uid, v.gid); err != nil {
		return fmt.Errorf("give %s to the proxy: %w", path, err)
	}
	return nil
}

// publish switches ..data in one rename, and only then changes the visible
// names: they never lead to nothing.
func (v volume) publish(fresh, old string, files map[string][]byte) error {
	tmp := filepath.Join(v.dir, "..data_tmp")
	if err := os.Symlink(fresh, tmp); err != nil {
		return fmt.Errorf("publish volume %s: %w", v.dir, err)
	}
	if err := os.Rename(tmp, filepath.Join(v.dir, "..data")); err != nil {
		return fmt.Errorf("publish volume %s: %w", v.dir, err)
	}
	time.Sleep(linkDelay)
	visible := map[string]bool{}
	for name := range files {
		first, _, _ := strings.Cut(name, "/")
		visible[first] = true
		err := os.Symlink(filepath.Join("..data", first), filepath.Join(v.dir, first))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("publish %s: %w", name, err)
		}
	}
	if err := v.prune(visible); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(v.dir, old)); err != nil {
		return fmt.Errorf("remove the old version of volume %s: %w", v.dir, err)
	}
	return nil
}

func (v volume) prune(visible map[string]bool) error {
	for _, name := range v.keep {
		visible[name] = true
	}
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return fmt.Errorf("read volume %s: %w", v.dir, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") || visible[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(v.dir, e.Name())); err != nil {
			return fmt.Errorf("remove %s from volume: %w", e.Name(), err)
		}
	}
	return nil
}

func (v volume) same(files map[string][]byte) bool {
	root := filepath.Join(v.dir, "..data")
	count := 0
	err := filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if want, ok := files[name]; err != nil || !ok || !bytes.Equal(want, data) {
			return fs.ErrInvalid
		}
		count++
		return nil
	})
	return err == nil && count == len(files)
}
