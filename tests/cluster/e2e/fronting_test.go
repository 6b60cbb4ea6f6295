package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

// frontingPolicy has everything that attacks are about: names that are intercepted, passed through and plaintext, and a
// credential. No pod is needed for it.
const frontingPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules:
    - {name: api, action: Allow, hosts: [api.fronting.example], ports: [{port: 443}], http: [{methods: [GET, POST], paths: [{prefix: /v1/}]}]}
    - {name: wildcard, action: Allow, hosts: ["*.wild.example"], ports: [{port: 443}]}
    - {name: pass, action: Allow, hosts: [pass.fronting.example], ports: [{port: 443}]}
    - {name: plain, action: Allow, hosts: [plain.fronting.example], ports: [{port: 80}]}
    - {name: denied, action: Deny, hosts: [denied.wild.example]}
    - {name: database, action: Allow, cidrs: [203.0.113.10/32], ports: [{port: 5432}]}
  mitm:
    domains: [api.fronting.example, "*.wild.example"]
    headerMutations:
    - domain: api.fronting.example
      headers: [{name: Authorization, secretRef: {name: api, key: token}, prefix: "Bearer "}]
---
apiVersion: v1
kind: Secret
metadata: {name: api}
stringData: {token: ` + frontingToken + `}
---
apiVersion: v1
kind: Service
metadata: {name: everything}
spec: {ports: [{port: 80}], selector: {app: agent}}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, labels: {app: agent}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "netproxy.test/curl:1", imagePullPolicy: Never, command: [sleep, "86400"]}]
`

const frontingToken = "canary-of-the-fronting-test"

// frontingReader lets joe see the policy and its pods.
const frontingReader = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [netproxy.dev], resources: [egresspolicies], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: joe}]
`

// TestFronting attacks a policy in the cluster: nothing gets through, the workload is not touched, its credential goes nowhere,
// and nothing is left.
func TestFronting(t *testing.T) {
	e := newProtected(t, 9*time.Minute, "curl", "cli")
	p := newPlugin(t, e)
	e.apply(t, frontingPolicy)
	e.ready(t, "agent")
	e.settled(t)

	t.Run("whole", func(t *testing.T) {
		junit := filepath.Join(t.TempDir(), "junit.xml")
		mark := e.mark(t)
		start := time.Now()
		a := p.want(t, 0, "", nil, "test-fronting", "agent", "-o", "json", "--junit", junit)
		t.Logf("%s\n%s", time.Since(start).Round(time.Second), a.err)
		judgeFronting(t, a.out)
		if text, err := os.ReadFile(junit); err != nil || !bytes.Contains(text, []byte(`failures="0"`)) {
			t.Errorf("%v: %s", err, text)
		}
		if strings.Contains(a.out+a.err, frontingToken) {
			t.Error("the credential is in the output")
		}
		// The cluster's own Internet is where the probe's connections would end up.
		for _, entry := range e.since(t, mark, ofFronting) {
			t.Errorf("left the probe: %+v", entry)
		}
		e.nothingLeft(t)
	})
	t.Run("pod", func(t *testing.T) {
		before := e.pod(t, "agent")
		a := p.want(t, 0, "", []string{"pod " + e.ns + "/agent runs what this policy renders", "nothing leaves it", "1 passed"}, "test-fronting", "pod/agent", "--only", "front-stranger-h1")
		if !strings.Contains(a.out, "✓ PASS") {
			t.Error(a.out)
		}
		if after := e.pod(t, "agent"); after.ResourceVersion != before.ResourceVersion {
			t.Error("the workload's pod was touched")
		}
		e.nothingLeft(t)
	})
	t.Run("interrupted", func(t *testing.T) { interruptFronting(t, p) })
	t.Run("not allowed", func(t *testing.T) {
		e.apply(t, probeRights+frontingReader)
		p.want(t, 1, "", []string{`"joe" may not update EgressPolicy/` + e.ns + "/agent", "--local"}, "test-fronting", "agent", "--as", "joe")
		e.nothingLeft(t)
	})
}

func judgeFronting(t *testing.T, out string) {
	t.Helper()
	var report struct {
		Where       string
		Differences []string
		Rows        []struct{ ID, Result, Got, Detail string }
		Summary     map[string]int
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s: %v, %d differences", report.Where, report.Summary, len(report.Differences))
	if report.Summary["PASS"] < 150 || report.Summary["LEAK"]+report.Summary["FAIL"] > 0 || report.Summary["OPEN"] == 0 {
		t.Errorf("%v", report.Summary)
	}
	for _, row := range report.Rows {
		if row.Result == "LEAK" || row.Result == "FAIL" || row.Result == "SKIPPED" {
			t.Logf("%+v", row)
		}
	}
}

// nothingLeft waits until the probe is gone.
func (e *env) nothingLeft(t *testing.T) {
	t.Helper()
	e.eventually(t, 30*time.Second, func() string {
		options := metav1.ListOptions{LabelSelector: v1alpha1.LabelProbe}
		pods, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, options)
		if err != nil {
			return err.Error()
		}
		secrets, err := e.Client.CoreV1().Secrets(e.ns).List(e.ctx, options)
		if err != nil || len(pods.Items)+len(secrets.Items) > 0 {
			return fmt.Sprintf("%d pods, %d Secrets: %v", len(pods.Items), len(secrets.Items), err)
		}
		return ""
	})
}

func (e *env) pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	pod, err := e.Client.CoreV1().Pods(e.ns).Get(e.ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// interruptFronting presses Ctrl-C in the middle of the attacks.
func interruptFronting(t *testing.T, p *plugin) {
	cmd := exec.CommandContext(p.ctx, p.binary, "test-fronting", "agent", "-n", p.ns)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(p.State, "kubeconfig"))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	var said strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := reader.Read(buffer)
		said.Write(buffer[:n])
		if err != nil {
			break
		}
		if strings.Contains(string(buffer[:n]), "attacking") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "probe pod deleted") || !strings.Contains(said.String(), "interrupted") || out.Len() > 0 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), said.String())
	}
	p.nothingLeft(t)
}

// ofFronting is everything that has a name of the policy or of the attacks in it.
func ofFronting(entry control.Entry) bool {
	return slices.ContainsFunc([]string{"fronting.example", "wild.example", "lab.invalid"}, entry.Mentions)
}
