package plugin

import (
	"strings"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

// renderedRevision is what the webhook would render of a policy.
func renderedRevision(t *testing.T, text string) string {
	t.Helper()
	docs, err := decode.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := compile(objects{}, docs.Policies[0], "demo")
	if err != nil {
		t.Fatal(err)
	}
	for revision := range revisions(c.plan) {
		return revision
	}
	t.Fatal("nothing is rendered")
	return ""
}

func TestExplainPod(t *testing.T) {
	revision := renderedRevision(t, agentPolicy)
	api := newFakeAPI(t, agentPolicy+readyStatus, agentPods, strings.Replace(agentSecret, "8899aabbccddeeff", revision, 1))
	for _, tc := range []struct {
		name, runs, rejected string
		args                 []string
		out, err             string
		code                 int
	}{
		{"in sync", revision, "", []string{"pod/agent-0", "https://api.openai.com/"}, "✓ ALLOWED  GET https://api.openai.com/", "", 0},
		{"denied", revision, "", []string{"pod/agent-0", "https://evil.example/"}, "✗ DENIED  GET https://evil.example/", "", 0},
		{"whole", revision, "", []string{"pod/agent-0"}, "✓ pod demo/agent-0 runs what this policy renders (" + revision + ")\n│   └── shows a certificate with serial 3a4f5b6c7d8e9f00, until 2027-01-30", "", 0},
		{"behind", "0123", "", []string{"pod/agent-0", "https://api.openai.com/"}, "✓ ALLOWED", "Warning: pod demo/agent-0 runs 0123 and has not taken " + revision + " yet; the answer is about the policy as it is now\n", 0},
		{"refused", "0123", "duplicate", []string{"pod/agent-0"}, "✗ pod demo/agent-0 runs 0123 and refused " + revision + ": redirect.v4: duplicate", "", 0},
		{"policy", "", "", []string{"agent", "https://api.openai.com/"}, "✓ ALLOWED", "", 0},
		{"no proxy", "", "", []string{"pod/agent-old"}, "", "error: pod demo/agent-old has no proxy: nothing controls what it reaches; EgressPolicy demo/agent selects it and came later: kubectl rollout restart deployment/agent -n demo\n", 1},
		{"gone", "", "", []string{"pod/gone", "https://x.example/"}, "", "error: there is no pod gone in namespace demo: see kubectl get pods -n demo\n", 1},
		{"no target", "", "", []string{"https://x.example/"}, "", "error: explain what? write -f policy.yaml, the name of a policy, or pod/NAME\n", 1},
		{"too much", "", "", []string{"agent", "GET", "https://x.example/", "more"}, "", "error: accepts at most 3 arg(s), received 4\n", 1},
	} {
		api.runs(tc.runs, tc.rejected)
		r := api.executeIn("", append([]string{"explain"}, tc.args...)...)
		if r.code != tc.code || !strings.Contains(r.out, tc.out) || r.err != tc.err {
			t.Errorf("%s: %d %q\n%s", tc.name, r.code, r.err, r.out)
		}
	}
	api.pages[statusPort+"/revision"] = page{503, "no"}
	if r := api.executeIn("", "explain", "pod/agent-0", "https://api.openai.com/"); r.code != 0 || !strings.Contains(r.err, "Warning: asking the proxy of pod demo/agent-0") {
		t.Errorf("unreachable: %d %q", r.code, r.err)
	}
	delete(api.objects, agentPath)
	if r := api.executeIn("", "explain", "pod/agent-0"); r.code != 1 || !strings.Contains(r.err, "which was deleted: its proxy keeps the last configuration") {
		t.Errorf("deleted: %d %q", r.code, r.err)
	}
}
