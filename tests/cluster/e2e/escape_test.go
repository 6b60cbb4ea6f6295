package e2e

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

const escapePolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules:
    - {name: open, action: Allow, hosts: [open.escape.example.net], ports: [{port: 443}]}
  mitm:
    domains: [open.escape.example.net]
`

// TestEscapes tries to get out of a pod whose policy denies by default. TestCluster is its positive control: the same
// attempts are seen by the world from a pod without a policy.
func TestEscapes(t *testing.T) {
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "open.escape.example.net")
	e.protect(t, escapePolicy)
	e.apply(t, toolPod("agent", "sleep")+"---"+toolPod("probe", "sleep"))
	agent := e.ready(t, "agent")
	e.ready(t, "probe")

	t.Run("packets", func(t *testing.T) { tryPackets(t, e) })
	t.Run("connections", func(t *testing.T) { tryConnections(t, e) })
	t.Run("privileges", func(t *testing.T) { tryPrivileges(t, e, agent) })
	t.Run("proxy's ports", func(t *testing.T) { tryPorts(t, e, agent) })
	t.Run("still works", func(t *testing.T) {
		if out := e.run(t, "agent", "/tool", "get", "https://open.escape.example.net/"); !strings.Contains(out.Stdout, "ok status: 200") {
			t.Error(out)
		}
	})
}

// tryPackets sends everything that is no TCP. The cluster's own resolver stays the only way, which is written in the README.
func tryPackets(t *testing.T, e *env) {
	mark := e.mark(t)
	outputs := map[string]string{}
	for name, escape := range escapes() {
		outputs[name] = e.run(t, "agent", append([]string{"/tool"}, escape.command...)...).String()
	}
	time.Sleep(time.Second) // what was sent would have arrived by now
	for name, escape := range escapes() {
		if seen := e.since(t, mark, escape.seen); len(seen) > 0 {
			t.Errorf("%s got out: %+v", name, seen)
		}
		t.Logf("%s: %s", name, outputs[name])
	}
}

// tryConnections opens TCP connections that no rule allows, to any port, over both families, and to a foreign resolver.
func tryConnections(t *testing.T, e *env) {
	mark := e.mark(t)
	each([]string{
		"203.0.113.81:80", "203.0.113.81:443", "203.0.113.81:22", "203.0.113.81:65535", "203.0.113.81:15001", "[2001:db8:bad::81]:443", "[2001:db8:bad::81]:9",
		"203.0.113.81:53", "[2001:db8:bad::81]:53", "169.254.169.254:80", "[::ffff:203.0.113.81]:8080",
	}, func(address string) {
		if out := e.run(t, "agent", "/tool", "tcp", address, "escape"); strings.HasPrefix(out.Stdout, "ok") {
			t.Errorf("%s answers: %s", address, out)
		}
	})
	seen := e.since(t, mark, func(en control.Entry) bool {
		return en.Kind == lab.Connection && (en.To.Addr() == netip.MustParseAddr("203.0.113.81") || en.To.Addr() == netip.MustParseAddr("2001:db8:bad::81") || en.To.Addr().IsLinkLocalUnicast())
	})
	if len(seen) > 0 {
		t.Errorf("connections got out: %+v", seen)
	}
}

// tryPrivileges: root in the application is nobody that could become the proxy or change the packet filter.
func tryPrivileges(t *testing.T, e *env, agent *corev1.Pod) {
	uid := proxyUID(t, agent)
	if out := e.run(t, "agent", "/tool", "setuid", strconv.FormatInt(uid, 10), "203.0.113.82:443", "escape"); !strings.Contains(out.Stdout, "operation not permitted") {
		t.Errorf("became the proxy's user %d: %s", uid, out)
	}
	status := e.run(t, "agent", "cat", "/proc/self/status").Stdout
	if !strings.Contains(status, "NoNewPrivs:\t1") {
		t.Errorf("set-user-ID programs work:\n%s", status)
	}
	const setgid, setuid, netAdmin, netRaw = 6, 7, 12, 13 // linux/capability.h
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if !strings.HasPrefix(name, "Cap") {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, capability := range []int{setgid, setuid, netAdmin, netRaw} {
			if set&(1<<capability) != 0 {
				t.Errorf("%s has capability %d", name, capability)
			}
		}
	}
	if out := e.run(t, "agent", "sh", "-c", "ls /run/netproxy /etc/envoy /netproxy; ip link add dummy0 type dummy; mount -t tmpfs none /mnt"); strings.Contains(out.Stdout, "admin") {
		t.Errorf("the proxy's files are there: %s", out)
	}
}

func proxyUID(t *testing.T, pod *corev1.Pod) int64 {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		if c.Name == "netproxy" {
			return *c.SecurityContext.RunAsUser
		}
	}
	t.Fatal("the pod has no proxy")
	return 0
}

// tryPorts: the redirect port takes redirected connections only, from nobody else; the status port reveals and changes
// nothing.
func tryPorts(t *testing.T, e *env, agent *corev1.Pod) {
	addresses := []string{"127.0.0.1", "[::1]"}
	for _, ip := range agent.Status.PodIPs {
		addresses = append(addresses, netip.AddrPortFrom(netip.MustParseAddr(ip.IP), 0).String())
	}
	for i, a := range addresses {
		addresses[i] = strings.TrimSuffix(a, ":0")
	}
	for _, from := range []string{"agent", "probe"} {
		for _, a := range addresses {
			if out := e.run(t, from, "/tool", "tcp", a+":15001", "GET / HTTP/1.1\r\nHost: open.escape.example.net\r\n\r\n"); strings.HasPrefix(out.Stdout, "ok") {
				t.Errorf("from %s the redirect port answers at %s: %s", from, a, out)
			}
		}
	}
	status := fmt.Sprintf("http://%s:15000", addresses[2])
	if out := e.run(t, "probe", "/tool", "get", status+"/ready"); !strings.Contains(out.Stdout, "status: 200") {
		t.Errorf("Prometheus and the kubelet need the status port: %s", out)
	}
	for _, path := range []string{"/", "/config_dump", "/quitquitquit", "/logging?level=trace", "/clusters", "/healthcheck/fail", "/runtime", "/stats/../config_dump", "/ready/../config_dump"} {
		for from, base := range map[string]string{"probe": status, "agent": "http://127.0.0.1:15000"} {
			if out := e.run(t, from, "/tool", "get", base+path); strings.Contains(out.Stdout, "status: 200") {
				t.Errorf("from %s the status port answers to %s: %.200s", from, path, out)
			}
		}
	}
}
