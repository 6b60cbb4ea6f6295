package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netproxy/netproxy/plugin/lab/attack"
)

// labPolicy is the policy of the demo, with the canary as its credential.
func labPolicy(t *testing.T) string {
	t.Helper()
	text := read(t, filepath.Join("..", "hack", "demo.yaml"))
	if !strings.Contains(text, "not-a-real-key-only-for-the-demo") {
		t.Fatal("the policy has no Secret to put the canary into")
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, strings.ReplaceAll(text, "not-a-real-key-only-for-the-demo", canary))
	return file
}

// plugin runs this binary as the plugin, with an Envoy that has the fault.
func plugin(t *testing.T, fault string, args ...string) result {
	t.Helper()
	envoy := os.Getenv("ENVOY")
	if envoy == "" {
		t.Skip("ENVOY is not set")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "--envoy", wrapper(t, envoy, fault))...)
	cmd.Env = append(os.Environ(), asPluginEnv+"=1")
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// wrapper is a program that the proxy's user in the lab can run.
func wrapper(t *testing.T, envoy, fault string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "netproxy-envoy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, script := filepath.Join(dir, "self"), filepath.Join(dir, "envoy")
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(self, data, 0o755)
	}
	text := fmt.Sprintf("#!/bin/sh\n%s=\"%s\" exec '%s' '%s' \"$@\"\n", faultEnv, fault, self, envoy)
	if err = errors.Join(err, os.WriteFile(script, []byte(text), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return script
}

// TestFrontingFindsFaults: the rows that a fault is about turn bad, and the exit code says so. Without a fault the same
// rows are good.
func TestFrontingFindsFaults(t *testing.T) {
	policy := labPolicy(t)
	rows := map[string][]string{
		"Host is not compared with the SNI":  {"front-other-h1"},
		"fast routes do not ask for the SNI": {"front-other-back-h1"},
		"the client's address is believed":   {"addr-passthrough-4"},
		"hosts are compared with case":       {"host-case"},
		"names may have any address":         {"rebind-private"},
		"every path is allowed":              {"control-denied-path"},
		"admin on TCP":                       {"port-admin"},
	}
	var all []string
	for _, ids := range rows {
		all = append(all, ids...)
	}
	all = append(all, "control-http1", "front-stranger-h1")
	run := func(t *testing.T, fault string, ids []string, code int, results ...attack.Result) {
		args := []string{"test-fronting", "-f", policy, "--local", "-o", "json", "--only", strings.Join(ids, ",")}
		r := plugin(t, fault, args...)
		if leaks(r.out + r.err) {
			t.Error("the output has the credential")
		}
		var report frontingReport
		if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != code || len(report.Rows) != len(ids) {
			t.Fatalf("exit code %d, want %d: %v\n%s%s", r.code, code, err, r.out, r.err)
		}
		for _, row := range report.Rows {
			if !slices.Contains(results, row.Result) {
				t.Errorf("%s is %s (%s), want one of %v", row.ID, row.Result, row.Detail, results)
			}
		}
	}
	t.Run("none", func(t *testing.T) { run(t, "none", all, ExitGood, attack.Pass) })
	for fault, ids := range rows {
		t.Run(fault, func(t *testing.T) { run(t, fault, ids, ExitBad, attack.Leak, attack.Fail) })
	}
}

// TestFrontingOfTheCluster attacks the policy of a pod that runs it, and touches nothing but pages that show what it runs.
func TestFrontingOfTheCluster(t *testing.T) {
	policy := agentPolicy + "    headerMutations: [{domain: api.openai.com, headers: [{name: X-A, value: b}]}]\n"
	policy = strings.Replace(policy, "  mitm: {domains: [api.openai.com]}\n", "  mitm:\n    domains: [api.openai.com]\n", 1)
	api := newFakeAPI(t, policy, agentPods)
	api.runs(renderedRevision(t, policy), "")
	junit := filepath.Join(t.TempDir(), "junit.xml")
	r := plugin(t, "none", "test-fronting", "pod/agent-0", "--local", "--only", "front-stranger-h1", "--only", "front-stranger-h2", "--junit", junit, "--kubeconfig", api.kubeconfig())
	if r.code != ExitGood || !strings.Contains(r.err, "✓ pod demo/agent-0 runs what this policy renders") || !strings.Contains(r.out, "EgressPolicy/demo/agent in the local lab") {
		t.Errorf("%d\n%s%s", r.code, r.out, r.err)
	}
	if text := read(t, junit); !strings.Contains(text, `failures="0"`) || !strings.Contains(text, "front-stranger-h1") {
		t.Error(text)
	}
	for _, request := range api.requests {
		if !strings.HasPrefix(request, "GET ") || strings.Contains(request, "/secrets/openai") {
			t.Errorf("asked for %s", request)
		}
	}
	api.runs("another", "")
	if r := plugin(t, "none", "test-fronting", "agent", "--local", "--only", "front-stranger-h1", "--kubeconfig", api.kubeconfig()); r.code != ExitGood ||
		!strings.Contains(r.err, "Warning: pod demo/agent-0 runs another") {
		t.Errorf("%d %s", r.code, r.err)
	}
}
