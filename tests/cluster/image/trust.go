package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/netproxy/netproxy/mitm"
)

const (
	// certificates is where Debian's package has them, and where a layer puts those of its own.
	certificates = "usr/share/ca-certificates/"
	// bundle is what Debian's update-ca-certificates makes of them.
	bundle = "/etc/ssl/certs/ca-certificates.crt"
)

// trust is what the scripts of the packages would do: one file with all certificates that the layers below have.
type trust struct{}

func (trust) prepare(context.Context, workshop) (part, error) {
	return part{id: "trust", write: func(t *tree) error {
		pem := t.bundle()
		if len(pem) == 0 {
			return fmt.Errorf("no layer has certificates below %s", certificates)
		}
		return t.add(file{path: bundle, mode: 0o644, data: pem})
	}}, nil
}

func (t *tree) bundle() []byte {
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(t.read)) {
		out.Write(bytes.TrimSpace(t.read[name]))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// javaTrust is the key store that the scripts of ca-certificates-java would make.
type javaTrust struct{}

func (javaTrust) prepare(context.Context, workshop) (part, error) {
	return part{id: "java trust", write: func(t *tree) error {
		roots, err := mitm.ParseAdditional(t.bundle())
		if err != nil {
			return fmt.Errorf("read Debian's certificates: %w", err)
		}
		store, err := roots.JKS()
		if err != nil {
			return fmt.Errorf("write Java's key store: %w", err)
		}
		return t.add(file{path: "/etc/ssl/certs/java/cacerts", mode: 0o644, data: store})
	}}, nil
}

// privateCA is the CA of an organisation, in the image's own store. Its key stays in the workshop, where tests find it.
type privateCA struct{}

func (privateCA) prepare(_ context.Context, w workshop) (part, error) {
	dir := filepath.Join(w.dir, "privateca")
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); err != nil {
		if err := newPrivateCA(dir); err != nil {
			return part{}, err
		}
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return part{}, err
	}
	sum := sha256.Sum256(pem)
	return part{id: hex.EncodeToString(sum[:]), write: func(t *tree) error {
		name := certificates + "corporation/corporation.crt"
		t.read[name] = pem
		return t.add(file{path: name, mode: 0o644, data: pem})
	}}, nil
}

func newPrivateCA(dir string) error {
	ca, err := mitm.Generate(rand.Reader, time.Now(), "The Corporation")
	if err != nil {
		return err
	}
	key, err := ca.Key().RevealPEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return firstOf(
		os.WriteFile(filepath.Join(dir, "ca.key"), key, 0o600),
		os.WriteFile(filepath.Join(dir, "ca.crt"), ca.CertificatePEM(), 0o644),
	)
}

// source is a client's program, in the directory of this one.
type source string

func (s source) prepare(context.Context, workshop) (part, error) {
	f, err := fromDisk(filepath.Join("tests/cluster/image/clients", string(s)), "/client/"+string(s))
	if err != nil {
		return part{}, err
	}
	f.mode = 0o644
	return files(f), nil
}
