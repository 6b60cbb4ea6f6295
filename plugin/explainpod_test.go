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
	c, err := compile(objects{}, docs.Policies[0], "demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	for revision := range revisions(c.plan) {
		return revision
	}
	t.Fatal("nothing is rendered")
	return ""
}

const ownNamespaceObject = "apiVersion: v1\nkind: Namespace\nmetadata: {name: netproxy-system}\n"

// TestExplainRanges: what the cluster counts as private counts in the answer, and what cannot be known is said.
func TestExplainRanges(t *testing.T) {
	const path, gone = "/api/v1/namespaces/netproxy-system/configmaps/netproxy-defaults", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`
	defaults := func(ranges string) page {
		return page{200, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"netproxy-defaults"},"data":{"privateRanges":"` + ranges + `"}}`}
	}
	warns := "; a name whose address is in a range that the cluster counts as private may be called allowed here, and the proxies refuse it: name such ranges with --private-range\n"
	for name, tt := range map[string]struct {
		defaults page
		args     []string
		out, err string
	}{
		"private":  {defaults("[25.0.0.0/8]"), nil, "✗ DENIED", ""},
		"public":   {defaults("[26.0.0.0/8]"), nil, "✓ ALLOWED", ""},
		"the flag": {defaults("[26.0.0.0/8]"), []string{"--private-range", "25.0.0.0/8"}, "✗ DENIED", ""},
		"broken":   {defaults("[x]"), nil, "✓ ALLOWED", `Warning: ConfigMap netproxy-system/netproxy-defaults: privateRanges[0]: Invalid value: "x": not an address; write four decimal numbers without leading zeros, or IPv6` + warns},
		"no right": {page{403, gone}, nil, "✓ ALLOWED", "Warning: ConfigMap netproxy-system/netproxy-defaults cannot be read: no" + warns},
	} {
		api := newFakeAPI(t, agentPolicy)
		api.pages[path] = tt.defaults
		r := api.executeIn("", append([]string{"explain", "agent", "https://api.openai.com/", "--resolved", "25.1.2.3"}, tt.args...)...)
		if r.code != 0 || !strings.HasPrefix(r.out, tt.out) || r.err != tt.err {
			t.Errorf("%s: %d %q\n%s", name, r.code, r.err, r.out)
		}
	}
	elsewhere := newFakeAPI(t, agentPolicy).executeIn("", "explain", "agent", "https://api.openai.com/")
	if want := "Warning: there is no namespace netproxy-system: the defaults of a netproxy elsewhere are not read" + warns; elsewhere.err != want {
		t.Errorf("elsewhere: %q", elsewhere.err)
	}
}

func TestExplainPod(t *testing.T) {
	revision := renderedRevision(t, agentPolicy)
	api := newFakeAPI(t, agentPolicy+readyStatus, agentPods, strings.Replace(agentSecret, "8899aabbccddeeff", revision, 1), ownNamespaceObject)
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
