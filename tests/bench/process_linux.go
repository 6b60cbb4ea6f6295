package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that was started to be measured.
type process struct {
	cmd    *exec.Cmd
	name   string
	log    *os.File
	exited chan struct{}
}

// cpus says where a process may run.
type cpus int

// Proxies run on the first core, clients and upstream on the second, when there are two.
const (
	anyCPU   cpus = -1
	proxyCPU cpus = 0
	loadCPU  cpus = 1
)

// launch starts a program whose output goes to dir/name.log. It ends with this process at the latest.
func launch(dir, name string, where cpus, program string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: exec.Command(program, args...), name: name, log: log, exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: a child dies with the thread that started it
		if err := errors.Join(pinThread(0, where), p.cmd.Start()); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// pinThread moves a thread (0: the calling one) to a core. With one core there is nothing to choose.
func pinThread(tid int, where cpus) error {
	var set unix.CPUSet
	for n := range runtime.NumCPU() {
		if where == anyCPU || runtime.NumCPU() < 2 || n == int(where) {
			set.Set(n)
		}
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("choose a core: %w", err)
	}
	return nil
}

// pinSelf moves this process, the clients and the upstream, to their core.
func pinSelf() error {
	runtime.GOMAXPROCS(1)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		if err := pinThread(tid, loadCPU); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	_ = p.log.Close()
}

// cpu is the time that all threads of the process have run, in nanoseconds (proc(5), schedstat).
func (p *process) cpu() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("read the CPU time of %s: is it running, and does the kernel have schedstat?", p.name)
	}
	var sum time.Duration
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has just ended
		}
		var ran int64
		if _, scan := fmt.Sscan(string(data), &ran); err != nil || scan != nil {
			return 0, fmt.Errorf("read the CPU time of %s: %w", p.name, errors.Join(err, scan))
		}
		sum += time.Duration(ran)
	}
	return sum, nil
}

// memory is a field of /proc/PID/status in MiB: VmRSS, RssAnon.
func (p *process) memory(field string) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("read the memory of %s: no %s", p.name, field)
}

// await polls until ready returns nil.
func (p *process) await(ctx context.Context, limit, every time.Duration, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.tail())
		case <-time.After(every):
		}
	}
}

// tail is the end of the log.
func (p *process) tail() []byte {
	const most = 4000
	data, err := os.ReadFile(p.log.Name())
	if err != nil {
		return nil
	}
	return bytes.TrimSpace(data[max(0, len(data)-most):])
}
