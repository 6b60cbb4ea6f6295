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
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Ports of the explicit proxies, on loopback.
const (
	mitmproxyPort = 8081
	squidPort     = 3128
)

// rivalPeriod is how long each of the two is loaded in a round.
const rivalPeriod = 3 * time.Second

const squidCertificates = "/usr/lib/squid/security_file_certgen"

// venv is where mitmproxy is installed; the cache is not part of the repository.
func venv() (string, error) {
	dir, err := filepath.Abs(".cache/mitmproxy")
	return dir, err
}

func installMITMProxy(ctx context.Context, progress io.Writer) error {
	dir, err := venv()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "bin", "mitmdump")); err == nil {
		return nil
	}
	fmt.Fprintln(progress, "installing mitmproxy into", dir)
	if err := command(ctx, "python3", "-m", "venv", dir); err != nil {
		return err
	}
	return command(ctx, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "mitmproxy")
}

func installSquid(ctx context.Context, progress io.Writer) error {
	if _, err := os.Stat(squidCertificates); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("squid with ssl-bump is missing: install Debian's squid-openssl, or run as root")
	}
	fmt.Fprintln(progress, "installing squid-openssl")
	if err := command(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return command(ctx, "apt-get", "install", "-qq", "-y", "--no-install-recommends", "squid-openssl")
}

// command runs an installer.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func besideMITMProxy(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	dir, err := venv()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "bin", "mitmdump")
	if _, err := os.Stat(program); err != nil {
		return []row{skipped(measureParallel, "mitmproxy could not be installed: see above")}, nil
	}
	version, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask mitmproxy for its version: %w", err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	return beside(ctx, o, progress, rival{"mitmproxy", first, mitmproxyPort, 8, func(w *world, dir string) (*process, error) {
		return startMITMProxy(w, dir, program)
	}})
}

func besideSquid(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	program, err := exec.LookPath("squid")
	if _, stat := os.Stat(squidCertificates); err != nil || stat != nil {
		return []row{skipped(measureParallel, "Debian's squid-openssl is not installed, and only root can install it")}, nil
	}
	version, err := exec.CommandContext(ctx, program, "-v").Output()
	if err != nil {
		return nil, fmt.Errorf("ask squid for its version: %w", err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	return beside(ctx, o, progress, rival{"squid", first, squidPort, 1.1, func(w *world, dir string) (*process, error) {
		return startSquid(ctx, w, dir, program)
	}})
}

// rival is another intercepting proxy, reached with CONNECT.
type rival struct {
	name, version string
	port          int
	target        float64
	start         func(w *world, dir string) (*process, error)
}

// beside alternates between the rival and netproxy.
func beside(ctx context.Context, o *options, progress io.Writer, r rival) ([]row, error) {
	w, err := o.world()
	if err != nil {
		return nil, err
	}
	m := comparison{}
	for round := range o.rounds {
		if err := r.round(ctx, o, w, m); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		fmt.Fprintf(progress, "round %d of %d\n", round+1, o.rounds)
	}
	return []row{
		compared(measureParallel, "1/s", r.name, m[measureParallel], atLeast, r.target).noted("%s", r.version),
		compared(measureParallelCPU, "µs", r.name, m[measureParallelCPU], "", 0),
		compared("new connections per second, 1 client", "1/s", r.name, m["new"], "", 0),
	}, nil
}

func (r rival) round(ctx context.Context, o *options, w *world, m comparison) error {
	other, err := r.subject(ctx, w)
	if err != nil {
		return err
	}
	defer other.stop()
	own, err := w.sidecar(ctx, o.envoy)
	if err != nil {
		return err
	}
	defer own.stop()
	var all, fresh [2]slice
	for i, s := range []*subject{other, own} {
		if all[i], err = s.parallel(ctx, openHTTP1, parallelClients, rivalPeriod); err != nil {
			return err
		}
		if fresh[i], err = s.connections(ctx, openHTTP1, connectsPerSlice); err != nil {
			return err
		}
	}
	m.recordParallel(all[0], all[1])
	m.add("new", fresh[0].perSecond(), fresh[1].perSecond())
	return nil
}

// subject starts the rival.
func (r rival) subject(ctx context.Context, w *world) (*subject, error) {
	dir, err := w.sub(r.name)
	if err != nil {
		return nil, err
	}
	p, err := r.start(w, dir)
	if err != nil {
		return nil, err
	}
	out := &subject{process: p, dial: r.connect, trust: pool(w.id.interception.Root())}
	if err := p.await(ctx, 60*time.Second, 50*time.Millisecond, func() error { return r.works(ctx, out) }); err != nil {
		p.stop()
		return nil, err
	}
	return out, nil
}

// connect asks the rival for a tunnel to the upstream.
func (r rival) connect(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", upstreamName)
	// The server speaks after the client's hello: nothing behind the answer can be in the buffer.
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("CONNECT was answered with %s", res.Status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// works makes one request: the client trusts only the CA of the interception, so an answer proves that it happened.
func (r rival) works(ctx context.Context, s *subject) error {
	client, err := openHTTP1(ctx, s.dial, s.trust)
	if err != nil {
		return err
	}
	defer client.close()
	_, err = fetch(client)
	return err
}

// writeAuthority gives a rival the CA to sign leaves with, and what it must trust.
func writeAuthority(w *world, dir string) (ca, trusted string, err error) {
	key, err := w.id.interception.Key().RevealPEM()
	if err != nil {
		return "", "", err
	}
	ca, trusted = filepath.Join(dir, "mitmproxy-ca.pem"), filepath.Join(dir, "upstream-ca.crt")
	return ca, trusted, errors.Join(
		os.WriteFile(ca, append(key, w.id.interception.CertificatePEM()...), 0o600),
		os.WriteFile(trusted, w.id.trusted, 0o644))
}

func startMITMProxy(w *world, dir, program string) (*process, error) {
	_, trusted, err := writeAuthority(w, dir)
	if err != nil {
		return nil, err
	}
	return launch(dir, "mitmproxy", proxyCPU, program, "--quiet", "--listen-host", "127.0.0.1", "--listen-port", strconv.Itoa(mitmproxyPort),
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+trusted, "--set", "flow_detail=0")
}

// startSquid bumps every connection with one worker, without cache and log.
func startSquid(ctx context.Context, w *world, dir, program string) (*process, error) {
	ca, trusted, err := writeAuthority(w, dir)
	if err != nil {
		return nil, err
	}
	certificates := filepath.Join(dir, "certificates")
	if err := os.RemoveAll(certificates); err != nil {
		return nil, err
	}
	if err := command(ctx, squidCertificates, "-c", "-s", certificates, "-M", "4MB"); err != nil {
		return nil, err
	}
	config := strings.Join([]string{
		fmt.Sprintf("http_port 127.0.0.1:%d ssl-bump tls-cert=%s generate-host-certificates=on dynamic_cert_mem_cache_size=4MB", squidPort, ca),
		fmt.Sprintf("sslcrtd_program %s -s %s -M 4MB", squidCertificates, certificates),
		"acl hello at_step SslBump1", "ssl_bump peek hello", "ssl_bump bump all", "http_access allow all",
		"tls_outgoing_options cafile=" + trusted, "dns_nameservers " + resolverAddress,
		"cache deny all", "access_log none", "netdb_filename none", "pid_filename none", "shutdown_lifetime 0 seconds", "workers 1",
		"cache_log " + filepath.Join(dir, "cache.log"), "coredump_dir " + dir, "",
	}, "\n")
	path := filepath.Join(dir, "squid.conf")
	if err := errors.Join(os.WriteFile(path, []byte(config), 0o644), giveAway(dir, "proxy")); err != nil {
		return nil, err
	}
	return launch(dir, "squid", proxyCPU, program, "-N", "-f", path)
}

// giveAway makes a user own a directory, which squid becomes when it was started by root.
func giveAway(dir, name string) error {
	owner, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("find squid's user: %w", err)
	}
	uid, one := strconv.Atoi(owner.Uid)
	gid, two := strconv.Atoi(owner.Gid)
	if err := errors.Join(one, two); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	})
}
