package plugin

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	agentPath   = "/apis/netproxy.dev/v1alpha1/namespaces/demo/egresspolicies/agent"
	agentDeploy = "/apis/apps/v1/namespaces/demo/deployments/agent"
)

// setStatus is the controller's part: the policy's Ready condition and counts.
func (f *fakeAPI) setStatus(status, reason, message string, inSync int64) {
	object := f.objects[agentPath]
	object.Object["status"] = map[string]any{
		"observedGeneration": object.GetGeneration(), "renderedRevision": "rev1",
		"pods": map[string]any{"selected": int64(2), "injected": int64(2), "inSync": inSync},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-01T12:00:00Z",
		}},
	}
}

// rolledOut is the part of the Deployment's controller.
func (f *fakeAPI) rolledOut(path string) {
	object := f.objects[path]
	object.Object["status"] = map[string]any{"observedGeneration": object.GetGeneration(), "replicas": int64(1), "updatedReplicas": int64(1), "availableReplicas": int64(1)}
}

// steps lets the controller do one step at each look at the policy.
func (f *fakeAPI) steps(steps ...func()) {
	at := 0
	f.asked = func(method, path string) {
		if method != "GET" || path != agentPath || f.objects[agentPath] == nil || f.objects[agentPath].GetGeneration() < 2 {
			return
		}
		if at < len(steps) {
			steps[at]()
			at++
		}
	}
}

func policyFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, text)
	return file
}

func TestApply(t *testing.T) {
	changed := strings.Replace(strings.Replace(agentPolicy, "[api.openai.com], ports", "[api.openai.com, api.github.com], ports", 1), ", generation: 1, creationTimestamp: \"2026-10-31T12:00:00Z\"", "", 1)
	const diff = `--- EgressPolicy demo/agent (cluster)
+++ EgressPolicy demo/agent (file)
@@ -10,6 +10,7 @@
     - action: Allow
       hosts:
       - api.openai.com
+      - api.github.com
       name: openai
       ports:
       - port: 443
`
	const warning = "Warning: EgressPolicy demo/agent: spec.egress.rules[0].hosts: rule \"openai\": TLS to api.github.com passes through unseen, so that another Host can hide inside; add the names to mitm.domains\n"
	const concerns = "EgressPolicy demo/agent concerns 1 running pods with a proxy and 1 without\n"
	file := policyFile(t, changed)
	for _, tc := range []struct {
		name     string
		args     []string
		steps    func(api *fakeAPI) []func()
		out, err string
		code     int
	}{
		{"in sync", nil, func(api *fakeAPI) []func() {
			return []func(){
				func() {},
				func() { api.setStatus("False", "RollingOut", "1 of 2 pods run the newest configuration", 1) },
				func() { api.setStatus("True", "InSync", "all 2 pods run the newest configuration", 2) },
			}
		}, "egresspolicy.netproxy.dev/agent configured\n", warning + diff + concerns + `  waiting for netproxy to see the change
  RollingOut: 1 of 2 pods run the newest configuration
✓ EgressPolicy demo/agent: all 2 pods run the newest configuration (revision rev1)
`, ExitGood},
		{"unprotected", nil, func(api *fakeAPI) []func() {
			return []func(){func() { api.setStatus("False", "PodsUnprotected", "1 pods run without the proxy", 1) }}
		}, "egresspolicy.netproxy.dev/agent configured\n", warning + diff + concerns + `✗ EgressPolicy demo/agent: 1 pods run without the proxy: they were created before the policy
    kubectl rollout restart deployment/agent -n demo
  or let this command do it: --restart
`, ExitBad},
		{"restart", []string{"--restart"}, func(api *fakeAPI) []func() {
			return []func(){
				func() { api.setStatus("False", "PodsUnprotected", "1 pods run without the proxy", 1) },
				func() { api.setStatus("False", "PodsUnprotected", "1 pods run without the proxy", 1) },
				func() { api.setStatus("True", "InSync", "all 2 pods run the newest configuration", 2) },
				func() { api.rolledOut(agentDeploy) },
			}
		}, "egresspolicy.netproxy.dev/agent configured\n", warning + diff + concerns + `  restarting deployment/agent in namespace demo
  PodsUnprotected: 1 pods run without the proxy
  deployment/agent: 0 of 1 pods are new and available
✓ EgressPolicy demo/agent: all 2 pods run the newest configuration (revision rev1)
`, ExitGood},
		{"rejected", nil, func(api *fakeAPI) []func() {
			return []func(){func() { api.setStatus("False", "ConfigRejected", "pod demo/agent-0: Envoy refused it", 1) }}
		}, "egresspolicy.netproxy.dev/agent configured\n", warning + diff + concerns + "✗ EgressPolicy demo/agent: ConfigRejected: pod demo/agent-0: Envoy refused it\n", ExitBad},
		{"time is up", []string{"--timeout", "2s"}, func(*fakeAPI) []func() { return nil }, "egresspolicy.netproxy.dev/agent configured\n",
			warning + diff + concerns + `  waiting for netproxy to see the change
error: EgressPolicy demo/agent is applied, and time is up before its pods run it (ChangedJustNow): netproxy itself does not answer: see kubectl netproxy check
`, ExitFailed},
		{"no wait", []string{"--wait=false"}, func(*fakeAPI) []func() { return nil }, "egresspolicy.netproxy.dev/agent configured\n", warning + diff + concerns, ExitGood},
		{"server dry run", []string{"--dry-run=server"}, func(*fakeAPI) []func() { return nil }, "egresspolicy.netproxy.dev/agent configured (server dry run)\n", warning + diff + concerns, ExitGood},
		{"client dry run", []string{"--dry-run=client"}, func(*fakeAPI) []func() { return nil }, "egresspolicy.netproxy.dev/agent is valid (dry run)\n", warning, ExitGood},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := newFakeAPI(t, agentPolicy, agentPods)
			api.setStatus("True", "InSync", "all 2 pods run the newest configuration", 2)
			api.steps(tc.steps(api)...)
			r := api.executeIn("", append([]string{"apply", "-f", file}, tc.args...)...)
			if d := cmp.Diff(result{tc.out, tc.err, tc.code}, r, cmp.AllowUnexported(result{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			restarted := strings.Contains(strings.Join(api.requests, "\n"), "PATCH "+agentDeploy)
			if restarted != (tc.name == "restart") {
				t.Errorf("restarted: %t", restarted)
			}
		})
	}
	api := newFakeAPI(t, agentPolicy, agentPods)
	if r := api.executeIn("", "diff", "-f", file); r.out != diff || r.code != ExitBad {
		t.Errorf("diff: %d\n%s%s", r.code, r.out, r.err)
	}
	if r := api.executeIn("", "diff", "-f", policyFile(t, agentPolicy)); r.out != "" || r.code != ExitGood {
		t.Errorf("diff of the same: %d\n%s%s", r.code, r.out, r.err)
	}
}

// TestApplyRefused: nothing is sent if one policy is bad.
func TestApplyRefused(t *testing.T) {
	bad := strings.Replace(basePolicy, "Allow", "Maybe", 1)
	for _, tc := range []struct {
		name, file string
		args       []string
		want       string
	}{
		{"invalid", agentPolicy + "---\n" + bad, nil, "spec.egress.defaultAction: Unsupported value: \"Maybe\""},
		{"immutable", strings.Replace(agentPolicy, "spec:", "spec:\n  proxy: {port: 16000}", 1), nil, "spec.proxy.port"},
		{"namespace", agentPolicy, []string{"-n", "other"}, "EgressPolicy demo/agent is in namespace demo, and -n says other: leave one out"},
		{"nothing", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", nil, "no EgressPolicy and no ClusterEgressPolicy in"},
		{"dry-run", agentPolicy, []string{"--dry-run=true"}, `--dry-run "true": write none, client or server`},
	} {
		api := newFakeAPI(t, agentPolicy)
		r := api.executeIn("", append([]string{"apply", "-f", policyFile(t, tc.file)}, tc.args...)...)
		if r.code != ExitFailed || r.out != "" || !strings.Contains(r.err, tc.want) {
			t.Errorf("%s: %d %q %q", tc.name, r.code, r.out, r.err)
		}
		if strings.Contains(strings.Join(api.requests, "\n"), "PATCH") {
			t.Errorf("%s: something was sent: %v", tc.name, api.requests)
		}
	}
}

// TestApplyInterrupted says that the policy stands.
func TestApplyInterrupted(t *testing.T) {
	api := newFakeAPI(t)
	ctx, stop := context.WithCancel(t.Context())
	api.changed = func(*unstructured.Unstructured) { stop() }
	r := api.executeWith(ctx, "apply", "-f", policyFile(t, agentPolicy))
	if r.code != ExitFailed || !strings.Contains(r.err, "interrupted") {
		t.Errorf("%d %q %q", r.code, r.out, r.err)
	}
}
