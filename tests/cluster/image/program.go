package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is a static Go program of this repository.
type program struct{ pkg, target string }

func (p program) prepare(ctx context.Context, w workshop) (part, error) {
	out := filepath.Join(w.dir, "program-"+strings.NewReplacer("./", "", "/", "-").Replace(p.pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", out, p.pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := runQuietly(cmd); err != nil {
		return part{}, err
	}
	f, err := fromDisk(out, p.target)
	if err != nil {
		return part{}, err
	}
	return files(f, file{path: "/tmp/", mode: 0o1777}), nil
}

// runQuietly shows what a command printed only if it fails.
func runQuietly(cmd *exec.Cmd) error {
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.Bytes())
	}
	return nil
}

// shell is a static busybox under the names that tests use.
type shell struct{}

func (shell) prepare(context.Context, workshop) (part, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return part{}, errors.New("busybox is missing: debian.sh unpacks it")
	}
	f, err := fromDisk(busybox, "/bin/busybox")
	if err != nil {
		return part{}, err
	}
	list := []file{f}
	for _, name := range strings.Fields("sh cat ls id sleep env grep find ps mount head ping nslookup wget nc ip") {
		list = append(list, file{path: "/bin/" + name, link: "busybox"})
	}
	return files(append(list, passwd()...)...), nil
}

// envoy is the binary that hack/envoy.sh gets, with the libraries that it needs. As in the image for users there is no shell.
type envoy struct{}

func (envoy) prepare(ctx context.Context, _ workshop) (part, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", "hack/envoy.sh")
	cmd.Stdout = &out
	if err := runQuietly(cmd); err != nil {
		return part{}, err
	}
	binary := strings.TrimSpace(out.String())
	f, err := fromDisk(binary, "/usr/local/bin/envoy")
	if err != nil {
		return part{}, err
	}
	libs, err := libraries(ctx, binary)
	if err != nil {
		return part{}, err
	}
	list := append(append([]file{f}, libs...), passwd()...)
	return files(append(list, file{path: "/tmp/", mode: 0o1777})...), nil
}

// libraries are the shared libraries of a binary, at their own paths.
func libraries(ctx context.Context, binary string) ([]file, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "ldd", binary)
	cmd.Stdout = &out
	if err := runQuietly(cmd); err != nil {
		return nil, err
	}
	var list []file
	for line := range strings.Lines(out.String()) {
		for _, word := range strings.Fields(line) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			f, err := fromDisk(word, word)
			if err != nil {
				return nil, err
			}
			list = append(list, f)
		}
	}
	return list, nil
}

func passwd() []file {
	return []file{
		{path: "/etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnonroot:x:65532:65532::/home/nonroot:/bin/sh\n")},
		{path: "/etc/group", mode: 0o644, data: []byte("root:x:0:\nwww-data:x:33:\nnonroot:x:65532:\n")},
		{path: "/etc/nsswitch.conf", mode: 0o644, data: []byte("hosts: files dns\n")},
		{path: "/root/", mode: 0o700},
	}
}
