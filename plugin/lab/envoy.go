package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// EnvoyOptions say what to run in a pod.
type EnvoyOptions struct {
	// Files are what the pod mounts, by name below /etc/envoy: bootstrap.yaml,
	// lds.yaml, tls/leaf.crt ...
	Files map[string][]byte
	// Binary is Envoy's path; empty means $ENVOY.
	Binary string
	// Args follow `-c /etc/envoy/bootstrap.yaml --disable-hot-restart`.
	Args []string
	// Env replaces the environment; nil means an empty one.
	Env []string
	// ReadyTimeout bounds the start; 0 means 20 s.
	ReadyTimeout time.Duration
}

// Envoy is a running proxy in a pod.
type Envoy struct {
	pod    *Pod
	opts   EnvoyOptions
	admin  string // path of the admin socket, from the bootstrap
	cmd    *exec.Cmd
	exited chan struct{}
	out    output
	err    output
	config volume
	tls    volume
}

// StartEnvoy mounts the files and starts Envoy in the pod. It returns when
// the status port says that it is ready, or with an error that holds what
// Envoy wrote. A previous Envoy of the pod is stopped.
func (p *Pod) StartEnvoy(ctx context.Context, opts EnvoyOptions) (*Envoy, error) {
	if p.thread == nil {
		return nil, errJoined
	}
	if opts.Binary == "" {
		opts.Binary = os.Getenv("ENVOY")
	}
	if opts.Binary == "" {
		return nil, errors.New("no Envoy: set ENVOY to the path of the binary")
	}
	if opts.ReadyTimeout == 0 {
		opts.ReadyTimeout = 20 * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.envoy != nil {
		if err := p.envoy.Stop(); err != nil {
			return nil, err
		}
		p.envoy = nil
	}
	e := p.newEnvoy(opts)
	if err := e.Swap(opts.Files); err != nil {
		return nil, err
	}
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	if err := e.waitReady(ctx); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	p.envoy = e
	return e, nil
}

// RestartEnvoy starts the pod's Envoy again with the same options and the files
// that are mounted now: it forgets what it has resolved.
func (p *Pod) RestartEnvoy(ctx context.Context) (*Envoy, error) {
	p.mu.Lock()
	running := p.envoy
	p.mu.Unlock()
	if running == nil {
		return nil, errors.New("restart envoy: none was started in this pod")
	}
	return p.StartEnvoy(ctx, running.opts)
}

func (p *Pod) newEnvoy(opts EnvoyOptions) *Envoy {
	uid, gid := os.Getuid(), os.Getgid()
	if hasUIDs() {
		uid, gid = ProxyUID, ProxyUID
	}
	return &Envoy{
		pod: p, opts: opts, exited: make(chan struct{}), admin: adminPath(opts.Files["bootstrap.yaml"]),
		config: volume{dir: filepath.Join(p.dir, "config"), uid: uid, gid: gid, keep: []string{"tls"}},
		tls:    volume{dir: filepath.Join(p.dir, "tls"), uid: uid, gid: gid},
	}
}

// Swap replaces the mounted files the way the kubelet does. Envoy notices by
// itself; see [Envoy.WaitStat].
func (e *Envoy) Swap(files map[string][]byte) error {
	config, tls := map[string][]byte{}, map[string][]byte{}
	for name, data := range files {
		if below, ok := strings.CutPrefix(name, "tls/"); ok {
			tls[below] = data
		} else {
			config[name] = data
		}
	}
	e.opts.Files = files
	// The kubelet keeps no order between volumes; this is the bad one.
	return errors.Join(e.config.write(config), e.tls.write(tls))
}

// waitReady polls the status port from outside of the pod, as a kubelet does.
func (e *Envoy) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.opts.ReadyTimeout)
	defer cancel()
	for {
		status, _, err := e.Status(ctx, "/ready")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-e.exited:
			return fmt.Errorf("envoy ended during its start:\n%s", e.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("envoy is not ready (%d): %w\n%s", status, errors.Join(ctx.Err(), err), e.Stderr())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Status asks the status port from outside of the pod.
func (e *Envoy) Status(ctx context.Context, path string) (status int, body []byte, err error) {
	var d net.Dialer
	addr := netip.AddrPortFrom(e.pod.ProxyAddrs[0], e.pod.AdminPort).String()
	return get(ctx, path, func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) })
}

// Admin asks Envoy's admin interface through its Unix socket.
func (e *Envoy) Admin(ctx context.Context, path string) (status int, body []byte, err error) {
	if e.admin == "" {
		return 0, nil, errors.New("the bootstrap has no admin socket")
	}
	return get(ctx, path, func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = e.pod.ns.do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, "unix", e.pod.hostPath(e.admin))
			return err
		})
		return c, err
	})
}

func get(ctx context.Context, path string, dial func(context.Context, string, string) (net.Conn, error)) (int, []byte, error) {
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask envoy: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// WaitStat waits until a stat of Envoy satisfies ok. The value of a stat that
// does not exist is empty.
func (e *Envoy) WaitStat(ctx context.Context, name string, ok func(value string) bool) error {
	last := ""
	for {
		value, err := e.Stat(ctx, name)
		if err == nil && ok(value) {
			return nil
		}
		last = value
		select {
		case <-e.exited:
			return fmt.Errorf("envoy ended:\n%s", e.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("stat %s is still %q: %w\n%s", name, last, ctx.Err(), e.Stderr())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stat returns the value of one stat as text, without quotes.
func (e *Envoy) Stat(ctx context.Context, name string) (string, error) {
	_, body, err := e.Admin(ctx, "/stats?filter=^"+strings.ReplaceAll(name, ".", `\.`)+"$")
	if err != nil {
		return "", err
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(body)), ": ")
	return strings.Trim(value, `"`), nil
}

// Pid is Envoy's process id.
func (e *Envoy) Pid() int { return e.cmd.Process.Pid }

// Stdout is what Envoy wrote to its standard output so far: the audit log.
func (e *Envoy) Stdout() []byte { return e.out.bytes() }

// Stderr is what Envoy wrote to its standard error so far.
func (e *Envoy) Stderr() []byte { return e.err.bytes() }

// Exited is closed when the process has ended.
func (e *Envoy) Exited() <-chan struct{} { return e.exited }

// Stop ends the process and waits for it. Envoy gets two seconds to write what
// it has logged.
func (e *Envoy) Stop() error {
	if e.cmd == nil {
		return nil
	}
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Kill} {
		if err := e.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop envoy: %w", err)
		}
		select {
		case <-e.exited:
			return nil
		case <-time.After(2 * time.Second):
		}
	}
	return errors.New("envoy does not end")
}

// adminPath reads where the bootstrap puts the admin socket.
func adminPath(bootstrap []byte) string {
	var b struct {
		Admin struct {
			Address struct {
				Pipe struct {
					Path string `json:"path"`
				} `json:"pipe"`
			} `json:"address"`
		} `json:"admin"`
	}
	if err := yaml.Unmarshal(bootstrap, &b); err != nil {
		return "" // Envoy will say what is wrong with it
	}
	return b.Admin.Address.Pipe.Path
}

// hostPath translates a path of the proxy's writable directory.
func (p *Pod) hostPath(path string) string {
	if below, ok := strings.CutPrefix(path, p.lab.opts.RunDir+"/"); ok {
		return filepath.Join(p.dir, "run", below)
	}
	return path
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}
