package plugin

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const agentPolicy = `apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent, namespace: demo, generation: 1, creationTimestamp: "2026-10-31T12:00:00Z"}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules:
    - {name: openai, action: Allow, hosts: [api.openai.com], ports: [{port: 443}]}
  mitm: {domains: [api.openai.com]}
`

const basePolicy = `apiVersion: netproxy.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: base, generation: 1, creationTimestamp: "2026-10-31T12:00:00Z"}
spec:
  egress: {defaultAction: Allow}
`

func TestDynamicCompletion(t *testing.T) {
	api := newFakeAPI(t, agentPolicy, basePolicy, "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "version", "-n", ""}, "demo prod"},
		{[]string{"__complete", "version", "-n", "p"}, "prod"},
		{[]string{"__complete", "version", "--color", ""}, "auto always never"},
		{[]string{"__complete", "version", "--context", ""}, "fake"},
	} {
		// The flags of the caller stand before the word that is completed.
		args := append([]string{"__complete", "version", "--kubeconfig", api.kubeconfig()}, tc.args[2:]...)
		r := execute(t, "", args...)
		words := strings.Fields(r.out)
		if diff := cmp.Diff(strings.Fields(tc.want+" :4"), words); diff != "" {
			t.Errorf("%v (-want +got):\n%s%s", tc.args, diff, r.err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]target{
		"agent": {targetAnyPolicy, "agent"}, "policy/agent": {targetPolicy, "agent"}, "egp/agent": {targetPolicy, "agent"},
		"EgressPolicy/agent": {targetPolicy, "agent"}, "egresspolicies.netproxy.dev/agent": {targetPolicy, "agent"},
		"cegp/base": {targetClusterPolicy, "base"}, "pod/web-0": {targetPod, "web-0"},
	} {
		got, err := parseTarget(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/x", "pod/", "node/x", "pod/a/b", "https://x.example"} {
		if got, err := parseTarget(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

// TestWeather: what goes wrong between here and the API server says what to do next.
func TestWeather(t *testing.T) {
	api := newFakeAPI(t)
	list := "/apis/netproxy.dev/v1alpha1/namespaces/demo/egresspolicies"
	status := func(code int, reason, message string) page {
		return page{code, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":` + strconv.Itoa(code) + `,"reason":"` + reason +
			`","message":"` + message + `","details":{"group":"netproxy.dev","kind":"egresspolicies"}}`}
	}
	for _, tc := range []struct {
		name string
		page page
		want string
	}{
		{"no permission", status(403, "Forbidden", "egresspolicies.netproxy.dev is forbidden: User \\\"me\\\" cannot list"), "kubectl auth can-i --list"},
		{"no CRDs", page{404, "404 page not found\n"}, "netproxy is not installed"},
		{"no login", status(401, "Unauthorized", "Unauthorized"), "credentials were not accepted"},
		{"a webhook that is gone", status(500, "InternalError", "Internal error occurred: failed calling webhook \\\"x\\\": timeout"), "kubectl netproxy check"},
	} {
		api.pages[list] = tc.page
		r := api.executeIn("", "get")
		if r.code != ExitFailed || !strings.Contains(r.err, tc.want) || r.out != "" {
			t.Errorf("%s: %d %q %s", tc.name, r.code, r.out, r.err)
		}
	}
	for name, args := range map[string][]string{
		"The API server cannot be reached":   {"get", "--server", "http://127.0.0.1:1", "--request-timeout", "2s"},
		"no cluster is configured":           {"get"},
		"context \"nowhere\" does not exist": {"get", "--context", "nowhere"},
	} {
		if r := execute(t, "", args...); r.code != ExitFailed || !strings.Contains(r.err, name) {
			t.Errorf("%v: %d %s", args, r.code, r.err)
		}
	}
}
