package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// workshop is where archives and what they are made of lie between two runs.
type workshop struct{ dir string }

// layer is one layer of an image.
type layer interface {
	// prepare gets what the layer is made of.
	prepare(ctx context.Context, w workshop) (part, error)
}

// part is a layer that can be written.
type part struct {
	// id changes whenever the content does.
	id    string
	write func(t *tree) error
}

// files is a part with these files, by path.
func files(list ...file) part {
	sum := sha256.New()
	for _, f := range list {
		fmt.Fprintf(sum, "%s %o %s %d\n", f.path, f.mode, f.link, len(f.data))
		sum.Write(f.data)
	}
	return part{id: hex.EncodeToString(sum.Sum(nil)), write: func(t *tree) error {
		for _, f := range list {
			if err := t.add(f); err != nil {
				return err
			}
		}
		return nil
	}}
}

// file is a regular file, a symbolic link if link is set, a directory if its path ends in a slash.
type file struct {
	path string
	mode int64
	link string
	data []byte
}

// tree writes a layer's tar.
type tree struct {
	tar  *tar.Writer
	seen map[string]bool
	// read collects files that a later layer of the image is made from.
	read map[string][]byte
}

func newTree(w io.Writer, read map[string][]byte) *tree {
	return &tree{tar: tar.NewWriter(w), seen: map[string]bool{}, read: read}
}

func (t *tree) add(f file) error {
	name := strings.TrimPrefix(f.path, "/")
	if err := t.parents(name); err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
	switch {
	case f.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
	case strings.HasSuffix(name, "/"):
		if t.seen[name] {
			return nil
		}
		h.Typeflag = tar.TypeDir
	}
	t.seen[name] = true
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := t.tar.Write(f.data)
	return err
}

// parents adds the directories above name that the layer has not got yet.
func (t *tree) parents(name string) error {
	dir := path.Dir(strings.TrimSuffix(name, "/"))
	if dir == "." || t.seen[dir+"/"] {
		return nil
	}
	return t.add(file{path: dir + "/", mode: 0o755})
}

// fromDisk is a file of this machine at another path.
func fromDisk(source, target string) (file, error) {
	data, err := os.ReadFile(source)
	if err != nil {
		return file{}, err
	}
	return file{path: target, mode: 0o755, data: data}, nil
}
