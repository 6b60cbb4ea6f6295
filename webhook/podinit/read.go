package podinit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/netproxy/netproxy/mitm"
)

// What an image may cost. The largest public bundle has 230 KB, a Debian directory 300 files.
const (
	maxFileBytes  = 4 << 20
	maxTotalBytes = 64 << 20
	maxFiles      = 4000
	maxDepth      = 3
	maxMatches    = 32 // of one pattern
	// maxReadTime bounds what a file can make its parser do: a PKCS #12 store says itself how often to hash.
	maxReadTime = 2 * time.Second
)

var errNotRegular = errors.New("is not a regular file")

// collector reads the places of an image into a store, within bounds. No error ends it: an image is what it is.
type collector struct {
	host  host
	store *mitm.ImageStore
	seen  map[string]bool
	files int
	bytes int64
	// notes are for the log: files that could not be used.
	notes []string
}

func (c *collector) collect(places []place) {
	for _, p := range places {
		matches, err := fs.Glob(c.host.root, p.path)
		if err != nil {
			continue // an image's odd file name
		}
		slices.Sort(matches)
		for _, name := range matches[:min(len(matches), maxMatches)] {
			c.visit(p, name)
		}
	}
}

// visit takes a directory where a file was expected, as some variables may name either.
func (c *collector) visit(p place, name string) {
	info, err := fs.Stat(c.host.root, name)
	switch {
	case err != nil:
		c.note(name, err)
	case info.IsDir() && p.kind != javaFile:
		c.walk(p, name)
	case !info.IsDir() && p.kind != pemDir:
		c.read(p, name)
	}
}

func (c *collector) walk(p place, dir string) {
	_ = fs.WalkDir(c.host.root, dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			c.note(name, err)
			return fs.SkipDir
		case c.files >= maxFiles:
			return fs.SkipAll
		case entry.IsDir():
			if strings.Count(strings.TrimPrefix(name, dir), "/") >= maxDepth {
				return fs.SkipDir
			}
			return nil
		case !isStore(name):
			c.read(p, name)
		}
		return nil
	})
}

// isStore keeps Java's cacerts, which Debian has below /etc/ssl/certs, out of what is read as PEM.
func isStore(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, "cacerts") || strings.HasSuffix(base, ".jks") || strings.HasSuffix(base, ".p12")
}

func (c *collector) read(p place, name string) {
	if c.seen[name] {
		return
	}
	c.seen[name] = true
	if c.files++; c.files > maxFiles {
		return
	}
	data, err := readBounded(c.host.root, name)
	if err != nil {
		c.note(name, err)
		return
	}
	if c.bytes += int64(len(data)); c.bytes > maxTotalBytes {
		c.note(name, fmt.Errorf("the image has more than %d MiB of certificates", maxTotalBytes>>20))
		return
	}
	before := c.store.Skipped()
	if err := c.add(p, data); err != nil {
		c.note(name, err)
	} else if n := c.store.Skipped() - before; n > 0 {
		c.note(name, fmt.Errorf("%d blocks are no readable certificate", n))
	}
}

func (c *collector) add(p place, data []byte) error {
	if p.kind != javaFile {
		c.store.AddPEM(data, p.accept)
		return nil
	}
	certs, err := within(maxReadTime, func() ([][]byte, error) { return mitm.JavaCertificates(data, p.passwords) })
	c.store.AddDER(certs, p.accept)
	return err
}

// within abandons what takes too long. It then goes on in the background, until the process ends a moment later.
func within(limit time.Duration, read func() ([][]byte, error)) ([][]byte, error) {
	type result struct {
		certs [][]byte
		err   error
	}
	done := make(chan result, 1)
	go func() {
		certs, err := read()
		done <- result{certs, err}
	}()
	select {
	case r := <-done:
		return r.certs, r.err
	case <-time.After(limit):
		return nil, fmt.Errorf("reading takes longer than %s", limit)
	}
}

func (c *collector) note(name string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		c.notes = append(c.notes, fmt.Sprintf("/%s: %v", name, err))
	}
}

// readBounded reads a regular file that is not too large. What a name leads to is looked at before it is opened, as
// opening a named pipe waits for a writer.
func readBounded(root fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(root, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("is larger than %d MiB", maxFileBytes>>20)
	}
	return data, nil
}
