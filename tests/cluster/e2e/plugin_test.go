package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plugin runs the command line as somebody in a shell would.
type plugin struct {
	*env
	binary string
}

// answer is what a run gave.
type answer struct {
	out, err string
	code     int
}

func newPlugin(t *testing.T, e *env) *plugin {
	t.Helper()
	p := &plugin{e, filepath.Join(t.TempDir(), "kubectl-netproxy")}
	build := exec.Command("go", "build", "-o", p.binary, "./cmd/kubectl-netproxy")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return p
}

func (p *plugin) do(t *testing.T, stdin string, args ...string) answer {
	t.Helper()
	cmd := exec.CommandContext(p.ctx, p.binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(p.State, "kubeconfig"))
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return answer{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// want runs it and holds code and texts against the answer.
func (p *plugin) want(t *testing.T, code int, stdin string, texts []string, args ...string) answer {
	t.Helper()
	a := p.do(t, stdin, append(args, "-n", p.ns)...)
	if a.code != code {
		t.Fatalf("%v: exit code %d, want %d\n%s%s", args, a.code, code, a.out, a.err)
	}
	for _, text := range texts {
		if !strings.Contains(a.out+a.err, text) {
			t.Errorf("%v: no %q in\n%s%s", args, text, a.out, a.err)
		}
	}
	return a
}

// install brings netproxy into the cluster, or up to date; it stays there for other tests.
func (p *plugin) install(t *testing.T) {
	t.Helper()
	a := p.do(t, "", "install", "--apply", "--wait", "--set", "images.webhook=netproxy.test/webhook:1", "--set", "images.init=netproxy.test/init:1", "--set", "images.proxy=netproxy.test/envoy:1",
		"--set", "images.cli=netproxy.test/cli:1")
	if a.code != 0 {
		t.Fatalf("%s%s", a.out, a.err)
	}
}

const agentDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent}
spec:
  replicas: 2
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: "netproxy.test/curl:1", imagePullPolicy: Never, command: [sleep, "86400"]}]
`

// twoAgents waits for the pods of the workload.
func (e *env) twoAgents(t *testing.T) {
	t.Helper()
	e.eventually(t, time.Minute, func() string {
		if pods := e.podsOf(t, "app=agent"); len(pods) != 2 {
			return "no two pods"
		}
		return ""
	})
}

// TestPlugin leads a policy through its life with the verbs that a person would use.
func TestPlugin(t *testing.T) {
	e := newEnv(t, 5*time.Minute, "webhook", "init", "envoy", "curl")
	p := newPlugin(t, e)
	if a := p.do(t, "", "check", "--pre"); a.code != 0 {
		t.Errorf("check --pre: %d\n%s%s", a.code, a.out, a.err)
	}
	p.install(t)
	if a := p.do(t, "", "check"); strings.Contains(a.out, "NP00") {
		t.Errorf("check: %d\n%s%s", a.code, a.out, a.err)
	}
	e.name(t, "api.plugin.example")
	ca, err := e.World.CA(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "world"}, "data": map[string]string{"ca.crt": string(ca)}})
	e.apply(t, agentDeployment+"---\n"+string(config))
	e.twoAgents(t)

	policy := p.want(t, 0, "", nil, "create", "policy", "agent", "--selector", "app=agent", "--mitm", "api.plugin.example", "--allow", "GET https://api.plugin.example/v1/*",
		"--resolution", "any", "--audit", "all", "--dry-run=client", "-o", "yaml").out + "  trust: {additionalCAs: [{configMapRef: {name: world, key: ca.crt}}]}\n"
	t.Run("apply", func(t *testing.T) {
		p.want(t, 2, policy, []string{"egresspolicy.netproxy.dev/agent created", "kubectl rollout restart deployment/agent -n " + e.ns}, "apply", "-f", "-")
		p.want(t, 0, policy, []string{"unchanged", "restarting deployment/agent", "all 2 pods run the newest configuration"}, "apply", "-f", "-", "--restart", "--timeout", "90s")
		p.want(t, 0, policy, nil, "diff", "-f", "-")
		p.want(t, 2, strings.Replace(policy, "/v1/", "/v2/", 1), []string{"-        - prefix: /v1/", "+        - prefix: /v2/"}, "diff", "-f", "-")
	})
	t.Run("status", func(t *testing.T) { checkStatus(t, p) })
	t.Run("logs, explain, learn", func(t *testing.T) { checkTraffic(t, p) })
	t.Run("rotate", func(t *testing.T) {
		for _, what := range []string{"leaf", "ca"} {
			a := p.want(t, 0, "", []string{"new " + what + ", proven on 2 pods"}, "rotate", what, "agent", "--timeout", "60s")
			if shown := regexp.MustCompile(`shows serial [0-9a-f]+, before [0-9a-f]+`).FindAllString(a.err, -1); len(shown) != 2 {
				t.Errorf("%s: %s", what, a.err)
			}
		}
		p.want(t, 0, "", []string{"all 2 pods run"}, "apply", "-f", policyFile(t, policy), "--timeout", "60s")
	})
	t.Run("two people", func(t *testing.T) {
		e.apply(t, strings.Replace(policy, "defaultAction: Deny", "defaultAction: Allow", 1)) // as another manager, which takes the field
		a := p.want(t, 1, policy, []string{`with "kubectl"`, "--force-conflicts"}, "apply", "-f", "-")
		if a.out != "" {
			t.Errorf("something was applied: %s", a.out)
		}
		p.want(t, 0, policy, []string{"configured"}, "apply", "-f", "-", "--force-conflicts")
	})
	t.Run("uninstall refuses", func(t *testing.T) {
		a := p.do(t, "", "uninstall")
		if a.code != 1 || !strings.Contains(a.err, "EgressPolicy "+e.ns+"/agent") || a.out != "" {
			t.Errorf("%d %s%s", a.code, a.out, a.err)
		}
	})
}

func policyFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func checkStatus(t *testing.T, p *plugin) {
	a := p.want(t, 0, "", nil, "status", "agent", "-o", "json")
	var view struct {
		Ready string
		Pods  []struct{ State, Revision, LeafSerial string }
	}
	if err := json.Unmarshal([]byte(a.out), &view); err != nil || view.Ready != "True" || len(view.Pods) != 2 {
		t.Fatalf("%v: %s", err, a.out)
	}
	for _, pod := range view.Pods {
		if pod.State != "InSync" || pod.Revision == "" || pod.LeafSerial == "" {
			t.Errorf("%+v", pod)
		}
	}
	p.want(t, 0, "", []string{"READY", "deployment/agent", "IN SYNC"}, "status", "agent")
	p.want(t, 0, "", []string{"agent", "2/2"}, "get")
}

// checkTraffic pastes the command that a denied line prints, and learns the policy of what was allowed.
func checkTraffic(t *testing.T, p *plugin) {
	pod := p.podsOf(t, "app=agent")[0]
	if out := p.run(t, pod, "curl", "-sS", "-m", "10", "https://api.plugin.example/v1/models"); out.Code != 0 {
		t.Fatalf("the allowed request: %s", out)
	}
	if out := p.run(t, pod, "curl", "-sS", "-m", "10", "-w", "%{http_code}", "https://api.plugin.example/v2/x'y"); !strings.HasSuffix(out.Stdout, "403") {
		t.Fatalf("the denied request: %s", out)
	}
	var lines string
	p.eventually(t, 10*time.Second, func() string {
		lines = p.want(t, 0, "", nil, "logs", "agent", "--denied").out
		if !strings.Contains(lines, "GET https://api.plugin.example/v2/x'y") {
			return "not in the log yet: " + lines
		}
		return ""
	})
	command := regexp.MustCompile(`kubectl netproxy (explain .*/v2/.*)`).FindStringSubmatch(lines)
	if command == nil {
		t.Fatalf("nothing to paste in %s", lines)
	}
	shell := exec.CommandContext(p.ctx, "sh", "-c", p.binary+" "+command[1])
	shell.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(p.State, "kubeconfig"))
	out, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "DENIED  GET https://api.plugin.example/v2/x'y") || strings.Contains(string(out), "Warning") {
		t.Errorf("%s: %v\n%s", command[1], err, out)
	}
	p.want(t, 0, "", []string{"ALLOWED", "/v1/models"}, "explain", "pod/"+pod, "GET", "https://api.plugin.example/v1/models")
	learned := p.want(t, 0, "", []string{"exact: /v1/models", "1 of 1 records are allowed", "Left out, because it was denied then"}, "learn", "agent")
	if strings.Contains(learned.out, "\n    - hosts: ['*']") {
		t.Errorf("learned too much: %s", learned.out)
	}
	if diff := cmp.Diff("", p.want(t, 0, "", nil, "logs", "agent", "--allowed", "--host", "other.plugin.example").out); diff != "" {
		t.Error(diff)
	}
}
