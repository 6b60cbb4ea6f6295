package podinit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/mitm"
)

const (
	modeProgram = 0o555
	modeFile    = 0o444
	modeDir     = 0o755
	// modeSlot lets the users of all images write: nobody knows them before, and the volume is of this pod alone.
	modeSlot = 0o777
)

// writeShares leaves what the containers after this one need. It can be repeated: files are replaced in one step.
func writeShares(h host, o captureOptions) error {
	if o.share != "" {
		if err := copyProgram(filepath.Join(o.share, names.InitBinary)); err != nil {
			return fmt.Errorf("copy netproxy-init to %s: %w", o.share, err)
		}
	}
	if o.dns != "" {
		if err := copyDNS(h, o.dns); err != nil {
			return fmt.Errorf("copy what the proxy resolves names with: %w", err)
		}
	}
	if o.trustRoot != "" {
		return writeTrustRoot(h, o)
	}
	return nil
}

func writeTrustRoot(h host, o captureOptions) error {
	roots := filepath.Join(o.trustRoot, names.RootsDir)
	if err := makeDir(roots, modeDir); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(roots, names.BundleFile), bytes.NewReader(mitm.Roots(h.now).PEM()), modeFile); err != nil {
		return fmt.Errorf("write the public roots: %w", err)
	}
	for i := range o.slots {
		if err := makeDir(filepath.Join(o.trustRoot, strconv.Itoa(int(i))), modeSlot); err != nil {
			return err
		}
	}
	return nil
}

// copyDNS keeps the proxy's resolv.conf and hosts as they are now: the kubelet mounts its own, writable, into all containers
// of the pod.
func copyDNS(h host, dir string) error {
	for _, name := range []string{names.ResolvConf, names.Hosts} {
		data, err := readBounded(h.root, "etc/"+name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read /etc/%s: %w", name, err)
		}
		if err := writeFile(filepath.Join(dir, name), bytes.NewReader(data), modeFile); err != nil {
			return err
		}
	}
	return nil
}

func copyProgram(to string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = self.Close() }()
	return writeFile(to, self, modeProgram)
}

// makeDir sets the mode after the umask has had its way.
func makeDir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the directory of a trust store: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("open the directory of a trust store: %w", err)
	}
	return nil
}

// writeFile replaces the file in one step, so that no reader sees a half of it.
func writeFile(path string, from io.Reader, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".netproxy-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, copyErr := io.Copy(f, from)
	if err := errors.Join(copyErr, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
