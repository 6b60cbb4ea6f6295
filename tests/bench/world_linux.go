package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// world is what a benchmark with traffic runs in.
type world struct {
	dir     string
	id      *identities
	servers *servers
}

// newWorld moves the process to its core and fills its network namespace; there is one in a process.
func newWorld() (*world, error) {
	if err := pinSelf(); err != nil {
		return nil, err
	}
	n, err := newNetwork()
	if err != nil {
		return nil, err
	}
	manyConnections()
	id, err := newIdentities(time.Now())
	if err != nil {
		return nil, err
	}
	servers, err := startServers(n, id.upstream)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "netproxy-bench-")
	if err != nil {
		return nil, err
	}
	// Squid gives up its privileges, and must still find its files.
	return &world{dir, id, servers}, errors.Join(os.Chmod(dir, 0o755), redirectTo(uint16(v1alpha1.DefaultProxyPort)))
}

func (w *world) close() error {
	w.servers.stop()
	return os.RemoveAll(w.dir)
}

// sub makes a directory of the world's.
func (w *world) sub(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}
