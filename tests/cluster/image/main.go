// Command image makes the images of the end-to-end tests without a registry: OCI archives from this repository's programs
// and from Debian's packages.
//
//	image DIRECTORY NAME...
//
// It prints the archive of each image. The name of an archive contains a hash of all that is in it: what has not changed
// is not made again. NAME is one of the table in images.go, or "all".
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("call it with a directory and the names of images")
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	table := images()
	names := args[1:]
	if slices.Contains(names, "all") {
		names = slices.Sorted(maps.Keys(table))
	}
	for _, name := range names {
		img, ok := table[name]
		if !ok {
			return fmt.Errorf("there is no image %q: choose among %v", name, slices.Sorted(maps.Keys(table)))
		}
		archive, err := makeImage(ctx, workshop{dir: dir}, name, img)
		if err != nil {
			return fmt.Errorf("make image %s: %w", name, err)
		}
		fmt.Println(archive)
	}
	return nil
}

// makeImage returns the archive of img, which it writes if it does not exist yet.
func makeImage(ctx context.Context, w workshop, name string, img image) (string, error) {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return "", err
	}
	parts := make([]part, len(img.layers))
	for i, l := range img.layers {
		p, err := l.prepare(ctx, w)
		if err != nil {
			return "", err
		}
		parts[i] = p
	}
	archive := filepath.Join(w.dir, fmt.Sprintf("%s-%s.tar", name, digestOf(img, parts)))
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	old, err := filepath.Glob(filepath.Join(w.dir, name+"-*.tar"))
	if err != nil {
		return "", err
	}
	if err := writeArchive(archive, "netproxy.test/"+name+":1", img, parts); err != nil {
		return "", err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return "", err
		}
	}
	return archive, nil
}
