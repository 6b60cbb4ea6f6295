package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

// TestSharedFiles: the kubelet and the container runtime mount one /etc/hosts and one /etc/resolv.conf, writable, into all containers of
// a pod. Root in the application must not be able to tell the proxy where a name is.
func TestSharedFiles(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "curl")
	const host = "open.shared.example.net"
	v4, v6 := e.name(t, host)
	evil, _ := e.name(t, "evil.shared.example.net")
	e.protect(t, `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: shared}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress: {defaultAction: Deny, rules: [{name: open, action: Allow, hosts: [`+host+`]}]}
`)
	e.apply(t, strings.Replace(clientPod("curl"), "name: curl, labels: {app: curl}", "name: agent, labels: {app: agent}", 1)+"---"+clientPod("curl"))
	e.ready(t, "agent")
	e.ready(t, "curl")
	script := fmt.Sprintf("echo '%s %s' >> /etc/hosts && echo 'nameserver %s' > /etc/resolv.conf && curl -s -m 10 -o /dev/null -w '%%{http_code}' http://%s/", evil, host, evil, host)

	reached := func(pod string) []control.Entry {
		mark := e.mark(t)
		if out := e.run(t, pod, "sh", "-c", script); !strings.Contains(out.Stdout, "200") {
			t.Fatalf("%s: %s", pod, out)
		}
		return e.since(t, mark, func(entry control.Entry) bool { return entry.Kind == lab.HTTP && entry.Host == host })
	}
	// The positive control: without the proxy the client goes where its file says.
	for _, entry := range reached("curl") {
		if entry.To.Addr() != evil {
			t.Errorf("without a policy the request went to %s: the files have no effect, and the test shows nothing", entry.To)
		}
	}
	seen := reached("agent")
	if len(seen) == 0 {
		t.Error("no request arrived")
	}
	for _, entry := range seen {
		if entry.To.Addr() != v4 && entry.To.Addr() != v6 {
			t.Errorf("the proxy was led to %s", entry.To)
		}
	}
}
