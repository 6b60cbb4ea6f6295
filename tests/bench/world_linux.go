package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

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
	w := &world{dir, id, servers}
	// Squid gives up its privileges, and must still find its files.
	return w, errors.Join(os.Chmod(dir, 0o755), w.nameUpstream(), redirectTo(uint16(v1alpha1.DefaultProxyPort)))
}

func (w *world) close() error {
	w.servers.stop()
	_ = unix.Unmount(hostsFile, unix.MNT_DETACH)
	return os.RemoveAll(w.dir)
}

// hostsFile is where proxies that ask the system's resolver find the upstream's name. The mount is seen by this process
// and its children only.
const hostsFile = "/etc/hosts"

func (w *world) nameUpstream() error {
	path := filepath.Join(w.dir, "hosts")
	if err := os.WriteFile(path, []byte("127.0.0.1 localhost\n"+upstreamAddress+" "+upstreamName+"\n"), 0o644); err != nil {
		return fmt.Errorf("name the upstream: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(path, hostsFile, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("name the upstream: %w", err)
	}
	return nil
}

// sub makes a directory of the world's.
func (w *world) sub(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}
