package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

// The value is not in this form in any command or manifest that a pod can see.
const (
	canaryHead, canaryTail = "canary-e2e-", "5d1f0c7a93"
	canaryPolicy           = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: canary}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: api, action: Allow, audit: true, hosts: [api.canary.example.net], ports: [{port: 443}]}]
  mitm:
    domains: [api.canary.example.net]
    headerMutations:
    - {domain: api.canary.example.net, headers: [{name: Authorization, secretRef: {name: credential, key: token}, prefix: "Bearer "}]}
---
apiVersion: v1
kind: Secret
metadata: {name: credential}
stringData: {token: ` + canaryHead + canaryTail + `}
`
)

// TestCanary injects a credential and looks for it everywhere that the workload, or who reads logs and events, can look.
func TestCanary(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "tool")
	e.name(t, "api.canary.example.net")
	e.protect(t, canaryPolicy)
	e.apply(t, toolPod("agent", "sleep"))
	e.ready(t, "agent")

	mark := e.mark(t)
	out := e.run(t, "agent", "/tool", "get", "https://api.canary.example.net/status/204")
	if strings.Contains(out.Stdout, canaryHead) {
		t.Errorf("the answer has the credential: %s", out)
	}
	seen := e.since(t, mark, func(en control.Entry) bool {
		return en.Kind == lab.HTTP && en.Header.Get("Authorization") == "Bearer "+canaryHead+canaryTail
	})
	if len(seen) == 0 {
		t.Fatalf("the upstream did not get the credential: %s", out)
	}
	t.Run("files and processes", func(t *testing.T) { searchFiles(t, e) })
	t.Run("logs and objects", func(t *testing.T) { searchObjects(t, e) })
}

// searchFiles reads all that root in the container can: /proc with environments and memory maps, and every volume.
func searchFiles(t *testing.T, e *env) {
	if out := e.run(t, "agent", "/tool", "find", canaryHead+canaryTail, "/"); !strings.Contains(out.Stdout, "ok found: 0") {
		t.Errorf("the credential is in the pod: %s", out)
	}
	// The positive control, put together so that no argument has it.
	e.run(t, "agent", "sh", "-c", "x="+canaryHead+"; echo ${x}"+canaryTail+" > /tmp/control")
	if out := e.run(t, "agent", "/tool", "find", canaryHead+canaryTail, "/"); !strings.Contains(out.Stdout, "/tmp/control") {
		t.Errorf("the search finds nothing: %s", out)
	}
}

// searchObjects reads logs of all containers and what kubectl shows of every object but Secrets. The workload's own account
// can read none of netproxy's Secrets.
func searchObjects(t *testing.T, e *env) {
	var text strings.Builder
	for _, container := range []string{"app", "netproxy", "netproxy-init", "netproxy-trust-0"} {
		log, err := e.Logs(e.ctx, e.ns, "agent", container)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(log)
	}
	if !strings.Contains(text.String(), "api.canary.example.net") {
		t.Errorf("the proxy's log has no record of the request: %s", text.String())
	}
	for _, args := range [][]string{
		{"-n", e.ns, "get", "pods,configmaps,events,egresspolicies,jobs", "-o", "yaml"},
		{"-n", e.ns, "describe", "pods,egresspolicies"},
		{"-n", "netproxy-system", "logs", "deployment/netproxy-webhook", "--all-pods"},
		{"-n", "netproxy-system", "get", "events,configmaps", "-o", "yaml"},
	} {
		out, err := e.Kubectl(e.ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(out)
	}
	if strings.Contains(text.String(), canaryHead+canaryTail) {
		t.Error("the credential is in a log or an object")
	}
	workload, err := e.As("system:serviceaccount:" + e.ns + ":default")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"netproxy-egp-canary", "credential"} {
		if _, err := workload.Client.CoreV1().Secrets(e.ns).Get(e.ctx, secret, metav1.GetOptions{}); err == nil {
			t.Errorf("the workload's account can read %s", secret)
		}
	}
}
