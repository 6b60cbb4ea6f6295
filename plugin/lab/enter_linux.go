package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv holds the network namespace of the process that called Enter.
const insideEnv = "NETPROXY_LAB_OUTSIDE"

// Streams are the standard streams of a program that runs in the lab.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Inside reports whether this process was started by [Enter]. The variable
// alone is not trusted: the network namespace must have changed.
func Inside() bool {
	outside := os.Getenv(insideEnv)
	own, err := os.Readlink("/proc/self/ns/net")
	return outside != "" && err == nil && own != outside
}

// Main is for TestMain: it runs run inside the lab's namespaces, by starting
// the test binary again when it is outside of them, and returns the exit code.
func Main(run func() int) int {
	if Inside() {
		return run()
	}
	code, err := Enter(context.Background(), os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Enter runs the current program again, with args, in new network and mount
// namespaces (and a user namespace unless it has the privileges already) and
// returns its exit code. The child dies with its parent.
func Enter(ctx context.Context, args []string, s Streams) (int, error) {
	code, err := again(ctx, args, s, func(cmd *exec.Cmd) { cmd.SysProcAttr = namespaces() })
	if err != nil {
		return 0, fmt.Errorf("start the lab: %w%s", err, hint(err))
	}
	return code, nil
}

// EnterPod is Enter for a process in a pod of a cluster: the new network
// namespace will be the Internet, and [Join] leads the pod there. It needs
// CAP_SYS_ADMIN in the pod, and leaves its files alone.
func EnterPod(ctx context.Context, args []string, s Streams) (int, error) {
	pod, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("open the pod's network namespace: %w", err)
	}
	defer func() { _ = pod.Close() }()
	code, err := again(ctx, args, s, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{pod}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	})
	if errors.Is(err, unix.EPERM) {
		return 0, fmt.Errorf("make a network namespace in the pod: %w (the container needs CAP_SYS_ADMIN, and a seccomp profile that lets it be used)", err)
	}
	if err != nil {
		return 0, fmt.Errorf("make a network namespace in the pod: %w", err)
	}
	return code, nil
}

// podFile is the descriptor of the pod's network namespace in a process that
// EnterPod started: the first of ExtraFiles.
const podFile = 3

// again runs the current program with args, changed, and returns its exit code.
func again(ctx context.Context, args []string, s Streams, change func(*exec.Cmd)) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find the running program: %w", err)
	}
	outside, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("read the network namespace (is /proc mounted?): %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	cmd.Env = append(os.Environ(), insideEnv+"="+outside)
	change(cmd)
	// The child answers an interrupt itself and cleans up; the parent waits for it.
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	// Pdeathsig is bound to the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if !privileged() {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// privileged reports whether namespaces can be made and UIDs be changed
// without a user namespace.
func privileged() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN
			return err == nil && caps&need == need
		}
	}
	return false
}

// hasUIDs reports whether the proxy's and the workload's UID exist in this
// user namespace.
func hasUIDs() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		var first, outside, count uint64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err == nil &&
			first <= WorkloadUID && first+count > ProxyUID {
			return true
		}
	}
	return false
}

func hint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return " (user namespaces are forbidden here: run as root, or allow them: sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return " (no namespace left: see sysctl user.max_net_namespaces, user.max_user_namespaces)"
	}
	return ""
}
