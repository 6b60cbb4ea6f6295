package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is one that runs and is measured.
type program struct {
	cmd                   *exec.Cmd
	log                   *os.File
	ended                 chan struct{}
	port, metrics, health int
	// started is how long it took until it said that it is ready.
	started time.Duration
}

// binary is a program that was built, with the arguments that it needs besides its ports.
type binary struct {
	name, path string
	args       []string
}

// build compiles the package of a program. Go's cache makes the second time quick.
func build(ctx context.Context, dir, name, pkg string) (string, error) {
	path := filepath.Join(dir, name)
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// start runs a program until it is ready.
func (b binary) start(ctx context.Context, dir string) (*program, error) {
	p := &program{ended: make(chan struct{})}
	for _, port := range []*int{&p.port, &p.metrics, &p.health} {
		var err error
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	var err error
	if p.log, err = os.Create(filepath.Join(dir, b.name+".log")); err != nil {
		return nil, fmt.Errorf("start %s: %w", b.name, err)
	}
	args := append([]string{"--port=" + strconv.Itoa(p.port), "--metrics-address=" + loopback(p.metrics), "--health-address=" + loopback(p.health)}, b.args...)
	p.cmd = exec.Command(b.path, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", b.name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s, see %s: %w", b.name, p.log.Name(), err), p.stop())
	}
	p.started = time.Since(began)
	return p, nil
}

func (p *program) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, err := get(ctx, "http://"+loopback(p.health)+"/readyz"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return errors.New("it ended")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
	}
	return p.log.Close()
}

// memory is what the kernel counts for the process, in bytes.
type memory struct{ anonymous, total float64 }

func (p *program) memory() (memory, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return memory{}, err
	}
	defer func() { _ = file.Close() }()
	var m memory
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(fields[1], 64) // a line that is none has another name
		switch fields[0] {
		case "Rss:":
			m.total = kilobytes * 1024
		case "Anonymous:":
			m.anonymous = kilobytes * 1024
		}
	}
	return m, nil
}

// cpu is the time that the threads of the process have run. Go does not end threads, so that none is lost.
func (p *program) cpu() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no threads of process %d: %w", p.cmd.Process.Pid, err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		nanoseconds, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		sum += time.Duration(nanoseconds)
	}
	return sum, nil
}

// counters are the metrics of a program that count up.
type counters struct {
	// calls are requests to the API server by method, reconciles are by controller.
	calls, reconciles map[string]float64
}

func (c counters) total() float64 {
	sum := 0.0
	for _, n := range c.calls {
		sum += n
	}
	return sum
}

func (p *program) counters(ctx context.Context) (counters, error) {
	page, err := get(ctx, "http://"+loopback(p.metrics)+"/metrics")
	if err != nil {
		return counters{}, err
	}
	out := counters{map[string]float64{}, map[string]float64{}}
	for line := range strings.SplitSeq(string(page), "\n") {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		switch {
		case err != nil:
		case strings.HasPrefix(line, "rest_client_requests_total{"):
			out.calls[label(line, "method")] += value
		case strings.HasPrefix(line, "controller_runtime_reconcile_total{"):
			out.reconciles[label(line, "controller")] += value
		}
	}
	return out, nil
}

func label(line, name string) string {
	_, rest, _ := strings.Cut(line, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, err
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort() (int, error) {
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
