package plugin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab/attack"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

const probePolicy = `apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent, namespace: demo, generation: 1}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: openai, action: Allow, hosts: [api.openai.com], ports: [{port: 443}]}]
  mitm:
    domains: [api.openai.com]
    headerMutations: [{domain: api.openai.com, headers: [{name: Authorization, secretRef: {name: openai, key: api-key}}]}]
`

// lines are what a probe prints.
func lines(t *testing.T, events ...probeEvent) string {
	t.Helper()
	var b strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(string(line) + "\n")
	}
	return b.String()
}

func attacked1(result attack.Result) probeEvent {
	return probeEvent{Event: probeRow, Row: &attack.Outcome{ID: "front-x", Title: "another Host", Expected: "404", Got: "200", Result: result, Detail: "it arrived"}}
}

// probed is an API server whose kubelet runs probes: state is the probe container's, log what it prints.
func probed(t *testing.T, state, log string) (api *fakeAPI, made map[string]*unstructured.Unstructured) {
	t.Helper()
	api = newFakeAPI(t, probePolicy, agentPods)
	api.runs(renderedRevision(t, probePolicy), "")
	made = map[string]*unstructured.Unstructured{}
	api.changed = func(o *unstructured.Unstructured) {
		made[o.GetKind()+" "+strings.TrimPrefix(o.GetName(), v1alpha1.ProbePrefix)] = o
		if o.GetKind() == "Pod" {
			o.Object["status"] = map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": inject.ProbeContainer, "state": decoded(t, state)}}}
			o.Object["spec"].(map[string]any)["nodeName"] = "n1"
			api.pages[pathOf(o)+"/log"] = page{http.StatusOK, log}
		}
	}
	return api, made
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

const runs = `{"running":{}}`

func TestProbe(t *testing.T) {
	start, end := probeEvent{Event: probeStart, Total: 1}, probeEvent{Event: probeEnd}
	tests := map[string]struct {
		state, log string
		refuse     string
		code       int
		out, err   string
	}{
		"good":         {runs, lines(t, start, attacked1(attack.Pass), end), "", ExitGood, "1 passed, 0 leaked", "✓ pod demo/agent-0 runs what this policy renders"},
		"a leak":       {runs, lines(t, start, attacked1(attack.Leak), end), "", ExitBad, "✗ LEAK  front-x: it arrived", "attacking: 1 attacks and controls"},
		"broken":       {runs, lines(t, probeEvent{Event: probeError, Text: "no veth here"}), "", ExitFailed, "", "error: the probe: no veth here"},
		"no image":     {`{"waiting":{"reason":"ErrImagePull","message":"not there"}}`, "", "", ExitFailed, "", "error: container probe of the probe pod: ErrImagePull: not there"},
		"never starts": {`{"waiting":{"reason":"ContainerCreating"}}`, "", "", ExitFailed, "", "time is up: waiting for container probe ContainerCreating: give it more with --timeout"},
		"refused": {runs, "", `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden","message":"admission webhook \"x\" denied the request: netproxy: no"}`,
			ExitFailed, "", "denied the request: netproxy: no\nor attack the policy on this machine: kubectl netproxy test-fronting agent --local"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			api, made := probed(t, tt.state, tt.log)
			if tt.refuse != "" {
				api.pages["POST /api/v1/namespaces/demo/pods"] = page{http.StatusForbidden, tt.refuse}
			}
			r := api.executeIn("", "test-fronting", "agent", "--timeout", "30s")
			if r.code != tt.code || !strings.Contains(r.out, tt.out) || !strings.Contains(r.err, tt.err) || tt.out == "" && r.out != "" {
				t.Errorf("%d, want %d %q %q\n%s%s", r.code, tt.code, tt.out, tt.err, r.out, r.err)
			}
			left(t, api)
			if want := map[bool]int{true: 3, false: 0}[tt.refuse == ""]; len(made) != want {
				t.Errorf("%d objects were made, want %d", len(made), want)
			}
		})
	}
}

// left is an error for everything that a probe made and that is still there.
func left(t *testing.T, api *fakeAPI) {
	t.Helper()
	for path := range api.objects {
		if strings.Contains(path, v1alpha1.ProbePrefix) {
			t.Errorf("left behind: %s", path)
		}
	}
	for _, request := range api.requests {
		if strings.HasPrefix(request, "GET ") && strings.Contains(request, "/secrets/openai") {
			t.Errorf("a credential was read: %s", request)
		}
	}
}

// TestProbeObjects: what the pod is bound to, what it may read, and how it differs from the workload's.
func TestProbeObjects(t *testing.T) {
	api, made := probed(t, runs, lines(t, probeEvent{Event: probeStart, Total: 1}, probeEvent{Event: probeEnd}))
	r := api.executeIn("", "test-fronting", "pod/agent-0", "-o", "json", "--only", "front-stranger-h1")
	var report frontingReport
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != ExitGood {
		t.Fatalf("%d %v\n%s%s", r.code, err, r.out, r.err)
	}
	want := []string{
		"the Internet, its servers and the resolver are the probe's own, inside of its pod; nothing leaves it",
		"certificates, and the CA that servers are verified against (upstream-ca.crt), are the probe's own",
		"Secret openai, key api-key: a dummy is injected",
		"/etc/envoy/cds.json: + metadata: (2 times)",
		"/etc/envoy/cds.json: + filterMetadata: (2 times)",
		"/etc/envoy/cds.json: + netproxy: (2 times)",
		"/etc/envoy/cds.json: + upstreamCAs: DIGEST (2 times)",
		"/etc/envoy/cds.json: - filename: /etc/netproxy/roots/ca-certificates.crt (2 times)",
		"/etc/envoy/cds.json: + filename: /etc/envoy/..data/upstream-ca.crt (2 times)",
	}
	for i, line := range report.Differences {
		report.Differences[i] = regexp.MustCompile(`upstreamCAs: "?\w+"?`).ReplaceAllString(line, "upstreamCAs: DIGEST")
	}
	if diff := cmp.Diff(want, report.Differences); diff != "" {
		t.Error(diff)
	}
	for kind, o := range made {
		owners := o.GetOwnerReferences()
		if o.GetKind() == "Secret" && (len(owners) != 1 || owners[0].UID == "" || owners[0].Kind != "Pod") {
			t.Errorf("%s does not go with the pod: %v", kind, owners)
		}
		if o.GetKind() != "Pod" {
			continue
		}
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod); err != nil {
			t.Fatal(err)
		}
		if !inject.IsProbe(&pod) || pod.Spec.Affinity == nil {
			t.Errorf("no probe, or on any node: %+v", pod)
		}
	}
}

// TestProbeInterrupted deletes everything, whenever the interrupt comes.
func TestProbeInterrupted(t *testing.T) {
	moments := map[string]string{"while the pod is created": "POST pods", "while the Secret is created": "POST secrets", "while it is followed": "GET log"}
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			api, _ := probed(t, `{"waiting":{"reason":"ContainerCreating"}}`, "")
			if moment == "GET log" {
				api, _ = probed(t, runs, lines(t, probeEvent{Event: probeStart, Total: 9}))
			}
			ctx, cancel := context.WithCancel(t.Context())
			method, what, _ := strings.Cut(moment, " ")
			api.asked = func(m, path string) {
				if m == method && strings.HasSuffix(path, what) {
					cancel()
				}
			}
			r := api.executeWith(ctx, "test-fronting", "agent")
			if r.code != ExitFailed || !strings.Contains(r.err, "interrupted") || r.out != "" || ctx.Err() == nil {
				t.Errorf("%d %q %q", r.code, r.out, r.err)
			}
			left(t, api)
		})
	}
}

// TestProbeSweeps what a killed run left, once it has ended.
func TestProbeSweeps(t *testing.T) {
	api, _ := probed(t, runs, lines(t, probeEvent{Event: probeStart, Total: 1}, probeEvent{Event: probeEnd}))
	for name, phase := range map[string]string{"old": "Failed", "busy": "Running"} {
		api.add("apiVersion: v1\nkind: Pod\nmetadata: {name: " + v1alpha1.ProbePrefix + name + ", namespace: demo, labels: {netproxy.dev/probe: \"true\"}}\nstatus: {phase: " + phase + "}\n")
	}
	r := api.executeIn("", "test-fronting", "agent")
	if r.code != ExitGood || !strings.Contains(r.err, "deleted what an earlier run left: probe pod demo/netproxy-probe-old") {
		t.Errorf("%d %s", r.code, r.err)
	}
	if api.objects["/api/v1/namespaces/demo/pods/netproxy-probe-old"] != nil || api.objects["/api/v1/namespaces/demo/pods/netproxy-probe-busy"] == nil {
		t.Error("the wrong one was deleted")
	}
}

// TestProbeRanges: the probe's proxy refuses what the cluster counts as private, and its attacks know that.
func TestProbeRanges(t *testing.T) {
	api, made := probed(t, runs, lines(t, probeEvent{Event: probeStart, Total: 1}, probeEvent{Event: probeEnd}))
	api.add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: netproxy-defaults, namespace: netproxy-system}\ndata: {privateRanges: \"[25.0.0.0/8]\"}\n")
	r := api.executeIn("", "test-fronting", "agent", "-o", "json")
	if r.code != ExitGood || strings.Contains(r.out, "25.0.0.0") {
		t.Errorf("%d, or a difference to the policy's pods:\n%s%s", r.code, r.out, r.err)
	}
	files := map[string]string{}
	for kind, o := range made {
		data, _, err := unstructured.NestedStringMap(o.Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range data {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatalf("%s, %s: %v", kind, name, err)
			}
			files[name] = string(raw)
		}
	}
	if diff := cmp.Diff(`{"privateRanges":["25.0.0.0/8"]}`, files[probeOptionsFile]); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(files[xds.ClustersFile], `"25.0.0.0"`) {
		t.Error("the probe's proxy does not know the range")
	}
}
