package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Media types of the OCI image specification.
const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// digestOf names the content of an image.
func digestOf(img image, parts []part) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "v1 %q %q %q\n", img.entrypoint, img.user, img.env)
	for _, p := range parts {
		fmt.Fprintln(sum, p.id)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// writeArchive writes an OCI image layout as one tar. A half-written one never has the archive's name.
func writeArchive(archive, name string, img image, parts []part) error {
	dir, err := os.MkdirTemp(filepath.Dir(archive), "image.")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := layout{dir: dir}
	layers, err := l.writeLayers(parts)
	if err != nil {
		return err
	}
	manifest, err := l.describe(img, layers)
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1"}
	if err := l.write("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	if err := l.write("index.json", map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}}); err != nil {
		return err
	}
	return l.pack(archive)
}

// layout is an OCI image layout on disk.
type layout struct {
	dir   string
	files []string
}

func (l *layout) writeLayers(parts []part) ([]descriptor, error) {
	read := map[string][]byte{}
	out := make([]descriptor, len(parts))
	for i, p := range parts {
		d, err := l.blob(mediaLayer, func(w io.Writer) error {
			t := newTree(w, read)
			if err := p.write(t); err != nil {
				return err
			}
			return t.tar.Close()
		})
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		out[i] = d
	}
	return out, nil
}

// describe writes configuration and manifest.
func (l *layout) describe(img image, layers []descriptor) (descriptor, error) {
	ids := make([]string, len(layers)) // layers are not compressed: digest and ID are the same
	for i, d := range layers {
		ids[i] = d.Digest
	}
	config, err := l.jsonBlob(mediaConfig, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": img.entrypoint, "Env": img.env, "User": img.user, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		return descriptor{}, err
	}
	return l.jsonBlob(mediaManifest, map[string]any{"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": layers})
}

func (l *layout) jsonBlob(media string, v any) (descriptor, error) {
	return l.blob(media, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

func (l *layout) blob(media string, write func(io.Writer) error) (descriptor, error) {
	f, err := os.CreateTemp(l.dir, "blob.")
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.New()
	err = write(io.MultiWriter(f, sum))
	size, seekErr := f.Seek(0, io.SeekCurrent)
	if err := firstOf(err, seekErr, f.Close()); err != nil {
		return descriptor{}, err
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	name := filepath.Join("blobs", "sha256", hash)
	if err := os.MkdirAll(filepath.Join(l.dir, filepath.Dir(name)), 0o755); err != nil {
		return descriptor{}, err
	}
	l.files = append(l.files, name)
	return descriptor{MediaType: media, Digest: "sha256:" + hash, Size: size}, os.Rename(f.Name(), filepath.Join(l.dir, name))
}

func (l *layout) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l.files = append(l.files, name)
	return os.WriteFile(filepath.Join(l.dir, name), data, 0o644)
}

// pack makes one file of the layout.
func (l *layout) pack(archive string) error {
	out, err := os.Create(filepath.Join(l.dir, "archive"))
	if err != nil {
		return err
	}
	t := tar.NewWriter(out)
	for _, name := range l.files {
		if err := packFile(t, l.dir, name); err != nil {
			return err
		}
	}
	if err := firstOf(t.Close(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), archive)
}

func packFile(t *tar.Writer, dir, name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
