package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

const (
	credentialPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: api, action: Allow, hosts: [api.credential.example, free.credential.example]}]
  mitm:
    domains: [api.credential.example, free.credential.example]
    headerMutations:
    - {domain: api.credential.example, headers: [{name: Authorization, secretRef: {name: openai, key: key}, prefix: "Bearer "}]}
`
	ownCredential = "Bearer the-clients-own"
)

// secretStep is something that happens to a Secret which a policy names, and what a request gets then.
type secretStep struct {
	name   string
	do     func(t *testing.T, e *env)
	status int
	header string // what the upstream sees
	reason string // of the condition Degraded
}

func setSecret(data string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		if _, err := e.Kubectl(e.ctx, "-n", e.ns, "delete", "secret", "openai", "--ignore-not-found"); err != nil {
			t.Fatal(err)
		}
		if data != "" {
			e.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {"+data+"}\n")
		}
	}
}

func updateSecret(data string) func(*testing.T, *env) {
	return func(t *testing.T, e *env) {
		e.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {"+data+"}\n")
	}
}

func secretSteps() []secretStep {
	const missing, good = v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonNone
	return []secretStep{
		{"created later", updateSecret(`key: sk-first`), 200, "Bearer sk-first", good},
		{"deleted", setSecret(""), 401, "", missing},
		{"created again", updateSecret(`key: sk-second`), 200, "Bearer sk-second", good},
		{"emptied", updateSecret(`key: ""`), 401, "", missing},
		{"filled", updateSecret(`key: sk-third`), 200, "Bearer sk-third", good},
		{"another key", setSecret(`token: sk-fourth`), 401, "", missing},
	}
}

// TestCredentialLifecycle: a credential that is not there, or not any more, is answered with 401 and a reason. The old value is not used, nor the
// client's own.
func TestCredentialLifecycle(t *testing.T) {
	e := newProtected(t, 4*time.Minute, "tool")
	e.name(t, "free.credential.example")
	e.name(t, "api.credential.example")
	e.protect(t, credentialPolicy) // Ready, as the rest of the policy works
	e.apply(t, toolPod("agent", "sleep"))
	e.ready(t, "agent")
	mark := e.mark(t)
	e.credential(t, secretStep{name: "missing from the start", status: 401, reason: v1alpha1.ReasonCredentialMissing})
	if out := e.run(t, "agent", "/tool", "get", "https://free.credential.example/"); !strings.HasPrefix(out.Stdout, "ok status: 200") {
		t.Errorf("a domain without a credential: %s", out)
	}
	for _, step := range secretSteps() {
		step.do(t, e)
		e.credential(t, step)
	}
	for _, entry := range e.since(t, mark, func(en control.Entry) bool { return en.Kind == lab.HTTP && en.Host == "api.credential.example" }) {
		if got := entry.Header.Get("Authorization"); !strings.HasPrefix(got, "Bearer sk-") {
			t.Errorf("a request arrived with Authorization %q", got)
		}
	}
}

// credential waits until requests get what the step says, and sees to it that they do so from then on.
func (e *env) credential(t *testing.T, step secretStep) {
	t.Helper()
	began := time.Now()
	e.eventually(t, arrives, func() string {
		if got, body := e.ask(t); got != fmt.Sprint(step.status, " ", step.header) {
			return fmt.Sprintf("%s: got %s, want %d %s: %s", step.name, got, step.status, step.header, body)
		}
		return ""
	})
	t.Logf("%s: %d after %s", step.name, step.status, time.Since(began).Truncate(time.Millisecond))
	e.eventually(t, arrives, func() string {
		return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionDegraded, step.reason, map[string]string{v1alpha1.ReasonCredentialMissing: "openai"}[step.reason])
	})
	got, body := e.ask(t)
	if got != fmt.Sprint(step.status, " ", step.header) {
		t.Errorf("%s: a later request got %s", step.name, got)
	}
	var denial struct{ Error, Message string }
	if step.status == 401 {
		if err := json.Unmarshal([]byte(body), &denial); err != nil || !strings.Contains(body, "credential") {
			t.Errorf("%s: the body is not readable: %q", step.name, body)
		}
		t.Log(body)
	}
}

// ask sends a request with a credential of the client's own. It returns the status, the header that the upstream saw, and the body.
func (e *env) ask(t *testing.T) (outcome, body string) {
	t.Helper()
	v4, _ := e.name(t, "api.credential.example")
	request, err := json.Marshal(lab.Request{Dst: netip.AddrPortFrom(v4, 443), Name: "api.credential.example", TLS: true, Path: "/v1/x", Header: []lab.Field{{Name: "Authorization", Value: ownCredential}}})
	if err != nil {
		t.Fatal(err)
	}
	mark := e.mark(t)
	out := e.run(t, "agent", "/tool", "request", string(request))
	var answer struct {
		Status int `json:"status"`
		Body   []byte
		Error  string
	}
	if err := json.Unmarshal([]byte(out.Stdout), &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	header := ""
	for _, entry := range e.since(t, mark, func(en control.Entry) bool { return en.Kind == lab.HTTP && en.Host == "api.credential.example" }) {
		header = entry.Header.Get("Authorization")
	}
	return fmt.Sprint(answer.Status, " ", header), string(answer.Body) + answer.Error
}
