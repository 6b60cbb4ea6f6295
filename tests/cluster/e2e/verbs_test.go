package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// verb is one command as somebody types it. Its golden file has the exit code and both streams.
type verb struct {
	name, args string
	stdin      string
	// before prepares what it shows.
	before func(t *testing.T)
}

// volatile is what no two runs share; replacements keep the width, so that columns stay where they are.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----`), "CERTIFICATE"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), strings.Repeat("d", 64)},
	{regexp.MustCompile(`\b[0-9a-f]{30,32}\b`), "SERIAL"},
	{regexp.MustCompile(`\b[0-9a-f]{15,16}\b`), "0123456789abcdef"},
	{regexp.MustCompile(`\bleaf [0-9a-f]{7,8}\b`), "leaf 01234567"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`), "DATE"},
	{regexp.MustCompile(`(?m)  \d{1,3}s( {2,}|$)`), "  AGE$1"},
	{regexp.MustCompile(`AGE {2,}`), "AGE  "},
	{regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `), "HH:MM:SS "},
	{regexp.MustCompile(`\b(198\.51\.100|192\.0\.2)\.\d+`), "198.51.100.N"},
	{regexp.MustCompile(`netproxy-probe-[a-z0-9]{6}\b`), "netproxy-probe-aaaaaa"},
	{regexp.MustCompile(`\bupstreamCAs: "?\w+"?`), "upstreamCAs: DIGEST"},
	{regexp.MustCompile(`uid: [0-9a-f-]{36}`), "uid: UID"},
	{regexp.MustCompile(`(resourceVersion|generation): "?\d+"?`), "$1: N"},
	{regexp.MustCompile(`\bin \d+ pods\b`), "in N pods"},
}

// passing are lines about what is still missing: which of them are there is a matter of luck.
var passing = regexp.MustCompile(`(?m)^  (waiting |NamespaceNotCovered|NotRendered|RollingOut|PodsUnprotected|statefulset/\S+: \d).*\n`)

func (p *plugin) steady(text string) string {
	text = strings.ReplaceAll(text, p.ns, "e2e-demodemo")
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	return inOrder(passing.ReplaceAllString(text, ""))
}

// inOrder leaves out what other tests have in the cluster, and sorts neighbours that come as pods answer.
func inOrder(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		theirs := strings.HasPrefix(line, "  Pod ") || strings.HasPrefix(line, "  EgressPolicy ") || strings.HasPrefix(line, "  ClusterEgressPolicy ")
		if theirs && !strings.Contains(line, "e2e-demodemo") {
			continue
		}
		out = append(out, line)
		if n := len(out); n > 1 && strings.HasPrefix(line, "✓ pod ") && strings.HasPrefix(out[n-2], "✓ pod ") && out[n-1] < out[n-2] {
			out[n-1], out[n-2] = out[n-2], out[n-1]
		}
	}
	return strings.Join(out, "")
}

// show runs a verb and compares everything that it says.
func (p *plugin) show(t *testing.T, number int, v verb) {
	t.Helper()
	if v.before != nil {
		v.before(t)
	}
	a := p.do(t, v.stdin, append(strings.Fields(v.args), "-n", p.ns)...)
	got := p.steady(fmt.Sprintf("$ kubectl netproxy %s\n(exit code %d)\n--- stdout\n%s--- stderr\n%s", v.args, a.code, ended(a.out), ended(a.err)))
	file := filepath.Join("testdata", "verbs", fmt.Sprintf("%02d-%s.txt", number, v.name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", v.args, diff)
	}
}

func ended(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		return text + "(no newline)\n"
	}
	return text
}

const agentStatefulSet = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: agent}
spec:
  replicas: 2
  serviceName: agent
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: "netproxy.test/curl:1", imagePullPolicy: Never, command: [sleep, "86400"]}]
`

// TestVerbs holds every verb to its exact answer on real pods, in the order in which somebody would meet them.
func TestVerbs(t *testing.T) {
	e := newProtected(t, 6*time.Minute, "curl", "cli")
	p := newPlugin(t, e)
	e.name(t, "api.verbs.example")
	e.apply(t, agentStatefulSet)
	e.twoAgents(t)
	policy := p.want(t, 0, "", nil, "create", "policy", "agent", "--selector", "app=agent", "--mitm", "api.verbs.example", "--allow", "GET https://api.verbs.example/v1/*",
		"--header", "api.verbs.example:Authorization=secret/openai/api-key", "--resolution", "any", "--audit", "all", "--dry-run=client", "-o", "yaml").out +
		"  trust: {additionalCAs: [{configMapRef: {name: world-ca, key: ca.crt}}]}\n"
	narrower := strings.Replace(policy, "/v1/", "/v2/", 1)
	traffic := func(t *testing.T) {
		for path, want := range map[string]string{"/v1/models": "200", "/v2/models": "403"} {
			if out := e.run(t, "agent-0", "curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://api.verbs.example"+path); out.Stdout != want {
				t.Fatalf("%s: %s", path, out)
			}
		}
		e.eventually(t, 10*time.Second, func() string {
			if out := p.do(t, "", "logs", "agent", "-n", e.ns).out; !strings.Contains(out, "/v1/models") || !strings.Contains(out, "/v2/models") {
				return "not both are in the log yet: " + out
			}
			return ""
		})
	}
	for i, v := range []verb{
		{name: "get-nothing", args: "get"},
		{name: "status-unknown", args: "status agent"},
		{name: "apply-dry-run", args: "apply -f - --dry-run=server", stdin: policy},
		{name: "apply", args: "apply -f -", stdin: policy},
		{name: "apply-restart", args: "apply -f - --restart --timeout 90s", stdin: policy},
		{name: "status-degraded", args: "status agent"},
		{name: "apply-again", args: "apply -f -", stdin: policy, before: func(t *testing.T) {
			e.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {api-key: not-a-real-key}\n")
			e.eventually(t, 30*time.Second, func() string {
				return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionDegraded, v1alpha1.ReasonNone, "")
			})
			e.settled(t)
		}},
		{name: "diff-none", args: "diff -f -", stdin: policy},
		{name: "diff", args: "diff -f -", stdin: narrower},
		{name: "get", args: "get"},
		{name: "get-wide", args: "get -o wide"},
		{name: "get-name", args: "get -o name"},
		{name: "status-list", args: "status"},
		{name: "status", args: "status agent"},
		{name: "explain-policy", args: "explain agent"},
		{name: "explain-pod", args: "explain pod/agent-0"},
		{name: "explain-allowed", args: "explain pod/agent-0 GET https://api.verbs.example/v1/models"},
		{name: "explain-denied", args: "explain agent POST https://api.verbs.example/v1/models -o json"},
		{name: "logs", args: "logs agent", before: traffic},
		{name: "logs-denied", args: "logs agent --denied"},
		{name: "learn", args: "learn agent"},
		{name: "rotate-leaf-plan", args: "rotate leaf agent --dry-run"},
		{name: "rotate-leaf", args: "rotate leaf agent --timeout 60s"},
		{name: "rotate-ca", args: "rotate ca agent --timeout 60s"},
		{name: "trust", args: "trust agent"},
		{name: "inject", args: "inject -f -", stdin: agentStatefulSet},
		{name: "create", args: "create policy web --selector app=web --default deny --allow https://api.verbs.example --resolution any"},
		{name: "uninstall", args: "uninstall"},
		{name: "apply-invalid", args: "apply -f -", stdin: strings.Replace(policy, "- api.verbs.example", "- '*.com'", 1)},
		{name: "explain-no-pod", args: "explain pod/nobody"},
		{name: "rotate-unknown", args: "rotate leaf nobody"},
		{name: "logs-unknown", args: "logs nobody"},
		{name: "no-rights", args: "get --as somebody"},
		{name: "no-rights-apply", args: "apply -f - --as somebody", stdin: policy},
		{name: "no-server", args: "get --server https://127.0.0.1:9"},
		{name: "no-context", args: "get --context elsewhere"},
		{name: "test-fronting", args: "test-fronting pod/agent-0 --only control-http1,front-stranger-h1,front-stranger-h2"},
		{name: "version", args: "version"},
	} {
		t.Run(v.name, func(t *testing.T) { p.show(t, i+1, v) })
	}
}
