package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/plugin/lab/attack"
)

// probeSecret writes what a probe reads, for the demo's policy with the fault. Its proxy trusts the lab's authority.
func probeSecret(t *testing.T, options string) string {
	t.Helper()
	authority, err := lab.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := authority.RevealPEM()
	if err != nil {
		t.Fatal(err)
	}
	policy, rest, _ := strings.Cut(read(t, labPolicy(t)), "\n---\n")
	dir := t.TempDir()
	write(t, filepath.Join(dir, probePolicyFile), fmt.Sprintf(`%s
  trust: {additionalCAs: [{configMapRef: {name: lab, key: ca.crt}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: lab, namespace: demo}
data: {ca.crt: %q}
---
%s`, policy, authority.CertificatePEM(), rest))
	write(t, filepath.Join(dir, probeAuthorityFile), string(pem))
	write(t, filepath.Join(dir, probeOptionsFile), options)
	return dir
}

// probeInLab stands for a cluster: it starts a pod with a proxy, and the plugin as the probe inside of it. The arguments are
// the directory with the probe's Secret, and Envoy.
func probeInLab() int {
	streams := IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if err := attackInLab(context.Background(), newShell(streams, "test", nil), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return ExitFailed
	}
	return ExitGood
}

func attackInLab(ctx context.Context, s *shell, dir, envoy string) error {
	o := policyOptions{Filenames: []string{filepath.Join(dir, probePolicyFile)}}
	c, err := o.load(s)
	if err != nil {
		return err
	}
	r, err := startLab(ctx, s, c, envoy)
	if err != nil {
		return err
	}
	resolver, name := netip.AddrPortFrom(r.lab.Resolvers()[0], 53), r.target.Intercepted[0].Name
	if _, err := r.pod.Resolve(ctx, "udp", resolver, name); err != nil || r.lab.Ledger.Mark() == 0 {
		return fmt.Errorf("the pod reaches nothing, or the lab does not see it: %w", err)
	}
	if os.Getenv(onlyIPv4Env) != "" {
		// The kernel takes the addresses away.
		if err := r.pod.RunPrivileged(exec.Command("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6")); err != nil {
			return err
		}
	}
	mark := settled(r.lab.Ledger)
	cmd := exec.CommandContext(ctx, os.Args[0], "probe", "--dir", dir)
	cmd.Env = append(os.Environ(), probedEnv+"=", asPluginEnv+"=1")
	cmd.Stdout, cmd.Stderr = s.Out, s.ErrOut
	err = r.pod.RunPrivileged(cmd)
	if _, err := r.pod.Resolve(ctx, "udp", resolver, name); err == nil {
		fmt.Fprintln(s.ErrOut, leftThePod+"a query after the probe's end")
	}
	for _, e := range r.lab.Ledger.Since(mark) {
		fmt.Fprintf(s.ErrOut, leftThePod+"%+v\n", e)
	}
	return r.closeLab(err)
}

// settled is the ledger's mark once nothing more comes: a packet is written down a little later than the question in it.
func settled(l *lab.Ledger) uint64 {
	for {
		mark := l.Mark()
		time.Sleep(300 * time.Millisecond)
		if l.Mark() == mark {
			return mark
		}
	}
}

const (
	leftThePod  = "left the pod: "
	onlyIPv4Env = "NETPROXY_TEST_ONLY_IPV4"
)

// runProbe returns the lines that a probe printed.
func runProbe(t *testing.T, fault, dir string) ([]probeEvent, result) {
	t.Helper()
	envoy := os.Getenv("ENVOY")
	switch {
	case envoy == "":
		t.Skip("ENVOY is not set")
	case os.Getuid() != 0:
		t.Skip("NOT TESTED: without root, workload and proxy have one user, as no pod has")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir, wrapper(t, envoy, fault))
	cmd.Env = append(os.Environ(), probedEnv+"=1")
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // the exit code says it
	r := result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	var events []probeEvent
	for line := range strings.Lines(r.out) {
		var e probeEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s\n%s", err, line, r.err)
		}
		events = append(events, e)
	}
	return events, r
}

// TestProbeInPod: rows are what they are in the local lab, and nothing leaves the pod.
func TestProbeInPod(t *testing.T) {
	rebinding := []string{"rebind-metadata", "rebind-pass-private", "rebind-plain-loopback"}
	others := []string{"control-http1", "control-http2", "control-ipv6", "control-passthrough", "front-stranger-h1", "addr-passthrough-4",
		"port-redirect-outside", "port-status-reveals", "dns-sni", "dns-foreign-udp", "udp-quic", "icmp"}
	for _, tt := range []struct {
		name, fault string
		only        []string
		want        []attack.Result
	}{
		{"good", "none", others, []attack.Result{attack.Pass}},
		{"good names", "none", rebinding, []attack.Result{attack.Pass}},
		{"bad names", "names may have any address", rebinding, []attack.Result{attack.Leak}},
		{"bad addresses", "the client's address is believed", []string{"addr-passthrough-4"}, []attack.Result{attack.Leak}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options, err := json.Marshal(probeOptions{Only: tt.only})
			if err != nil {
				t.Fatal(err)
			}
			events, r := runProbe(t, tt.fault, probeSecret(t, string(options)))
			if r.code != ExitGood || strings.Contains(r.err, leftThePod) || leaks(r.out+r.err) {
				t.Fatalf("%d\n%s%s", r.code, r.out, r.err)
			}
			if n := len(events); n != len(tt.only)+2 || events[0].Event != probeStart || events[0].Total != len(tt.only) || events[n-1].Event != probeEnd {
				t.Fatal(r.out)
			}
			for _, e := range events[1 : len(events)-1] {
				if e.Event != probeRow || !slices.Contains(tt.only, e.Row.ID) || !slices.Contains(tt.want, e.Row.Result) {
					t.Errorf("%+v, want %v", e.Row, tt.want)
				}
			}
		})
	}
}

// TestProbeWithoutIPv6: a pod of a cluster with one family has no rows about the other.
func TestProbeWithoutIPv6(t *testing.T) {
	t.Setenv(onlyIPv4Env, "1")
	events, r := runProbe(t, "none", probeSecret(t, `{"only": ["control-http1", "control-ipv6", "rebind-loopback6", "port-redirect6", "udp-quic"]}`))
	got := map[string]attack.Result{}
	for _, e := range events {
		if e.Row != nil {
			got[e.Row.ID] = e.Row.Result
		}
	}
	want := map[string]attack.Result{
		"control-http1": attack.Pass, "control-ipv6": attack.Skipped, "rebind-loopback6": attack.Skipped,
		"port-redirect6": attack.Skipped, "udp-quic": attack.Pass,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s\n%s%s", diff, r.out, r.err)
	}
}

// TestProbeCannotRun: who follows the log is told, and only there.
func TestProbeCannotRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: without root there is no network namespace to be had in a pod")
	}
	good := probeSecret(t, "{}")
	policy := read(t, filepath.Join(good, probePolicyFile))
	for name, tt := range map[string]struct{ file, text, want string }{
		"no options":    {probeOptionsFile, "", "reading options.json"},
		"no policy":     {probePolicyFile, "", "no EgressPolicy"},
		"no credential": {probePolicyFile, policy[:strings.LastIndex(policy, "---\n")], "lacks Secret"},
		"no authority":  {probeAuthorityFile, "", "read the upstream CA"},
		"no pod":        {"", "", "no IPv4 address"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range []string{probeOptionsFile, probePolicyFile, probeAuthorityFile} {
				text := read(t, filepath.Join(good, file))
				if file == tt.file {
					text = tt.text
				}
				write(t, filepath.Join(dir, file), text)
			}
			resolv := filepath.Join(dir, "resolv.conf")
			write(t, resolv, "nameserver 192.0.2.53\n")
			cmd := exec.CommandContext(t.Context(), "unshare", "-n", os.Args[0], "probe", "--dir", dir, "--resolv-conf", resolv)
			cmd.Env = append(os.Environ(), asPluginEnv+"=1")
			out, err := cmd.CombinedOutput()
			var e probeEvent
			if jsonErr := json.Unmarshal(out, &e); jsonErr != nil || e.Event != probeError || !strings.Contains(e.Text, tt.want) || cmd.ProcessState.ExitCode() != ExitFailed {
				t.Errorf("%v %v: %s, want an error with %q", err, jsonErr, out, tt.want)
			}
		})
	}
}
