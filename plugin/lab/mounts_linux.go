package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// baseDir holds what the lab writes; it lies on a tmpfs that only the lab sees.
const baseDir = "/run/netproxy-lab"

// privateMounts makes /etc and /run of this mount namespace writable without
// touching those of the machine. It may be called again.
func privateMounts() error {
	if _, err := os.Stat(baseDir); err == nil {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range []string{"/etc", "/run"} {
		if err := shadow(dir); err != nil {
			return err
		}
	}
	if err := os.Mkdir(baseDir, 0o755); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	return nil
}

// shadow covers dir with a tmpfs that shows the same entries.
func shadow(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("shadow %s: %w", dir, err)
	}
	old, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("shadow %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(old) }()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
	}
	from := filepath.Join("/proc/self/fd", strconv.Itoa(old))
	for _, e := range entries {
		if err := reveal(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name()), e); err != nil {
			return fmt.Errorf("shadow %s: %w", dir, err)
		}
	}
	return nil
}

// reveal shows one entry of a shadowed directory at its old place. Entries
// that this user may not see stay hidden.
func reveal(from, to string, e fs.DirEntry) error {
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case e.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	default:
		if err := touch(to); err != nil {
			return err
		}
	}
	err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
	if err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	return nil
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// bind mounts the directory or file from at to, which is made when it does not
// exist. It must run on a thread of the pod's mount namespace.
func bind(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if _, statErr := os.Stat(to); statErr != nil {
		err = touch(to)
	}
	if err != nil {
		return fmt.Errorf("make the mount point %s: %w", to, err)
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	return nil
}
