package e2e

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

// TestProxyKilled: while the proxy of a pod is dead nothing leaves the pod, and with the next one all is as before.
func TestProxyKilled(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "tool")
	for _, name := range []string{"api", "free"} {
		e.name(t, name+".credential.example")
	}
	e.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {key: sk-killed}\n")
	e.protect(t, credentialPolicy)
	e.apply(t, follower("agent", "https://api.credential.example/v1/x", 120))
	pod := e.ready(t, "agent")
	e.arrived(t, arrives, "agent", "200")
	mark := e.mark(t)
	if err := cluster.KillProcesses(pod, "envoy"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	e.eventually(t, arrives, func() string {
		if list := e.seen(t, "agent"); slices.ContainsFunc(list, func(o observation) bool { return o.status == "error" }) {
			return ""
		}
		return "requests go on without the proxy"
	})
	if _, err := e.WaitPod(e.ctx, e.ns, "agent", func(p *corev1.Pod) bool { return proxyRestarts(p) == 1 && cluster.Ready(p) }); err != nil {
		t.Fatal(err)
	}
	e.arrived(t, time.Minute, "agent", "200")
	t.Logf("requests went on %s after the proxy was killed", time.Since(began).Truncate(time.Millisecond))
	for _, entry := range e.since(t, mark, func(en control.Entry) bool { return en.Kind == lab.HTTP && en.Host == "api.credential.example" }) {
		if got := entry.Header.Get("Authorization"); got != "Bearer sk-killed" {
			t.Errorf("a request arrived with Authorization %q", got)
		}
	}
	e.settled(t)
}
