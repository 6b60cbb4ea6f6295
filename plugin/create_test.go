package plugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

// TestCreateApplies: what is sent is what --dry-run=client prints.
func TestCreateApplies(t *testing.T) {
	api := newFakeAPI(t)
	args := []string{"create", "policy", "agent", "-l", "app=agent", "--allow", "https://api.openai.com", "--mitm", "api.openai.com"}
	path := "/apis/netproxy.dev/v1alpha1/namespaces/demo/egresspolicies/agent"
	dry := api.executeIn("", append(args, "--dry-run=server")...)
	if dry.out != "egresspolicy.netproxy.dev/agent created (server dry run)\n" || dry.code != ExitGood || api.objects[path] != nil {
		t.Errorf("%d %q %s", dry.code, dry.out, dry.err)
	}
	r := api.executeIn("", args...)
	if r.out != "egresspolicy.netproxy.dev/agent created\n" || r.err != "See what becomes of it: kubectl netproxy status agent -w\n" || r.code != ExitGood {
		t.Errorf("%d %q %s", r.code, r.out, r.err)
	}
	printed := api.executeIn("", append(args, "--dry-run=client", "-o", "yaml", "-n", "demo")...)
	docs, err := decode.Decode([]byte(printed.out))
	if err != nil || len(docs.Policies) != 1 {
		t.Fatalf("%v\n%s", err, printed.out)
	}
	stored := api.executeIn("", "get", "agent", "-o", "yaml")
	again, err := decode.Decode([]byte(stored.out))
	if err != nil {
		t.Fatalf("%v\n%s", err, stored.out)
	}
	if diff := cmp.Diff(docs.Policies[0].PolicySpec(), again.Policies[0].PolicySpec()); diff != "" {
		t.Errorf("(-printed +stored):\n%s", diff)
	}
	if r := api.executeIn("", append(args, "-n", "demo")...); r.out != "egresspolicy.netproxy.dev/agent configured\n" || !strings.Contains(r.err, "status agent -n demo -w") {
		t.Errorf("%d %q %s", r.code, r.out, r.err)
	}
	api.pages["PATCH "+path] = page{409, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409,"message":"Apply failed with 1 conflict: conflict with \"helm\": .spec.egress"}`}
	if r := api.executeIn("", args...); r.code != ExitFailed || !strings.Contains(r.err, `conflict with "helm"`) || !strings.Contains(r.err, "--force-conflicts") {
		t.Errorf("%d %q %s", r.code, r.out, r.err)
	}
}
