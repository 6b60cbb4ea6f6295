package lab

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// start runs Envoy as the proxy's UID inside the pod.
func (e *Envoy) start(context.Context) error {
	binary, err := e.pod.expose(e.opts.Binary)
	if err != nil {
		return err
	}
	args := append([]string{"-c", filepath.Join(ConfigDir, "bootstrap.yaml"), "--disable-hot-restart"}, e.opts.Args...)
	e.cmd = exec.Command(binary, args...)
	e.cmd.Env = append([]string{}, e.opts.Env...)
	e.cmd.Stdout, e.cmd.Stderr = &e.out, &e.err
	if err := e.pod.start(e.cmd, ProxyUID); err != nil {
		return fmt.Errorf("start envoy: %w", err)
	}
	go func() {
		_ = e.cmd.Wait()
		close(e.exited)
	}()
	return nil
}

// Run runs a program inside the pod as the workload, for instance curl. It
// speaks from ClientAddrs only if it binds one of them, which matters when
// UIDs cannot be told apart.
func (p *Pod) Run(cmd *exec.Cmd) error {
	if err := p.start(cmd, WorkloadUID); err != nil {
		return fmt.Errorf("run %s in the pod: %w", cmd.Path, err)
	}
	return cmd.Wait()
}

// RunPrivileged runs a program inside the pod with the privileges of the lab
// itself, as a container that may change the network. Unlike others it knows
// nothing of the lab around it.
func (p *Pod) RunPrivileged(cmd *exec.Cmd) error {
	if p.thread == nil {
		return errJoined
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = slices.DeleteFunc(cmd.Environ(), func(v string) bool { return strings.HasPrefix(v, insideEnv+"=") })
	if err := p.thread.do(cmd.Start); err != nil {
		return fmt.Errorf("run %s in the pod: %w", cmd.Path, err)
	}
	return cmd.Wait()
}

// start forks from the pod's own thread: the child is in its namespaces and
// dies with it.
func (p *Pod) start(cmd *exec.Cmd, uid uint32) error {
	if p.thread == nil {
		return errJoined
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if hasUIDs() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	return p.thread.do(cmd.Start)
}

// expose makes a program reachable for other UIDs, whatever directory of the
// caller's it lies in.
func (p *Pod) expose(binary string) (string, error) {
	if to, ok := p.exposed[binary]; ok {
		return to, nil
	}
	to := filepath.Join(p.dir, fmt.Sprintf("bin%d-%s", len(p.exposed), filepath.Base(binary)))
	abs, err := filepath.Abs(binary)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", binary, err)
	}
	if err := p.thread.do(func() error { return bind(abs, to) }); err != nil {
		return "", fmt.Errorf("show %s in the pod: %w", binary, err)
	}
	p.exposed[binary] = to
	return to, nil
}
