package learn

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
	"github.com/netproxy/netproxy/xds"
)

func base(t *testing.T, domains ...string) *v1alpha1.EgressPolicy {
	t.Helper()
	out := &v1alpha1.EgressPolicy{}
	out.Name, out.Namespace, out.Kind = "agent", "demo", v1alpha1.KindEgressPolicy
	out.Spec.Egress = v1alpha1.Egress{DefaultAction: v1alpha1.ActionAllow, Rules: []v1alpha1.Rule{{Name: "record-all", Audit: true}}}
	if len(domains) > 0 {
		out.Spec.MITM = &v1alpha1.MITM{Domains: domains}
	}
	return out
}

// random records of what a policy that allows everything lets through.
func random(r *rand.Rand) audit.Record {
	name := fmt.Sprintf("host-%d.example.com", r.IntN(6))
	port := []int{443, 80, 8080, 5432}[r.IntN(4)]
	out := audit.Record{
		Time: time.Date(2026, 11, 1, 12, 0, r.IntN(60), 0, time.UTC), Namespace: "demo", Pod: fmt.Sprintf("agent-%d", r.IntN(3)), Verdict: xds.Allow,
		Destination: fmt.Sprintf("%s:%d", []string{"203.0.113.7", "10.0.0.5", "169.254.3.4"}[r.IntN(3)], port),
	}
	out.Upstream = out.Destination
	path := []string{"/", "/v1/chat", "/v1//x", "/a%2Fb", "/files/1", "/files/2", "/files/3", "/files/deep/4"}[r.IntN(8)]
	method := []string{"GET", "POST", "DELETE", "PROPFIND"}[r.IntN(4)]
	switch r.IntN(4) {
	case 0:
		out.Chain, out.Host, out.Method, out.Path, out.Protocol = "http", name, method, path, "HTTP/1.1"
	case 1:
		out.Chain, out.SNI, out.Host, out.Method, out.Path, out.Protocol = "intercept/open.example.com", "open.example.com", "open.example.com", method, path, "HTTP/2"
	case 2:
		out.Chain, out.SNI = "tcp/default", name
	default:
		out.Chain = "tcp/default"
	}
	return out
}

// TestReplay: whatever was seen is allowed, and what was not is denied.
func TestReplay(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var records []audit.Record
		for range 1 + r.IntN(60) {
			records = append(records, random(r))
		}
		result, err := Learn(base(t, "open.example.com"), records, Options{MaxPaths: 1 + r.IntN(5)})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(result.Refused)+len(result.Unnamed) > 0 || result.Learned != len(records) {
			t.Errorf("seed %d: %d of %d learned, refused %v", seed, result.Learned, len(records), result.Refused)
		}
		plan, err := compile(result.Policy, nil)
		if err != nil {
			t.Fatal(err)
		}
		stranger := audit.Record{SNI: "never.example.com", Destination: "198.51.100.1:443"}
		if v := plan.Evaluate(stranger.Request()); v.Verdict != xds.Deny {
			t.Errorf("seed %d: a name that was never seen is allowed by %s", seed, v.Rule)
		}
		for _, rule := range result.Policy.PolicySpec().Egress.Rules {
			if len(rule.Hosts)+len(rule.CIDRs) == 0 || len(rule.Hosts) > 0 && rule.Hosts[0] == "*" {
				t.Errorf("seed %d: rule %s matches every destination", seed, rule.Name)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	paths := map[string]map[string]bool{}
	for _, p := range []string{"/a/1", "/a/2", "/a/3", "/b/c/1", "/b/c/2", "/x", "/sp ace/q"} {
		paths[p] = map[string]bool{"GET": true}
	}
	paths["/post"] = map[string]bool{"POST": true, "GET": true}
	got, _ := matches(paths, 4)
	exact := func(p string) v1alpha1.PathMatch { return v1alpha1.PathMatch{Exact: &p} }
	prefix := func(p string) v1alpha1.PathMatch { return v1alpha1.PathMatch{Prefix: &p} }
	want := []v1alpha1.HTTPMatch{
		{Methods: []string{"GET"}, Paths: []v1alpha1.PathMatch{exact("/x"), prefix("/"), prefix("/a/"), prefix("/b/c/")}},
		{Methods: []string{"GET", "POST"}, Paths: []v1alpha1.PathMatch{exact("/post")}},
	}
	want[0].Paths = nil // "/" stands for a path that no policy can name
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(paths, "/sp ace/q")
	got, collapsed := matches(paths, 4)
	want[0].Paths = []v1alpha1.PathMatch{exact("/b/c/1"), exact("/b/c/2"), exact("/x"), prefix("/a/")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"/a/": 3}, collapsed); diff != "" {
		t.Errorf("collapsed (-want +got):\n%s", diff)
	}
}
