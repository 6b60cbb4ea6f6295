package envoy

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// counted is a kind of denial, and the counter of the status port that goes up with it.
type counted struct {
	name    string
	request lab.Request
	counter string
}

func countedDenials() []counted {
	const quiet = "https://quiet.audit.example/"
	return []counted{
		{"by a rule", ask("GET", quiet+"admin"), `envoy_http_rq_direct_response{envoy_http_conn_manager_prefix="netproxy_intercept"}`},
		{"misdirected", ask("GET", quiet, withHost("loud.audit.example")), `envoy_http_rbac_denied{envoy_http_conn_manager_prefix="netproxy_intercept"}`},
		{"plaintext, by default", ask("GET", "http://unknown.audit.example/"), `envoy_http_rbac_denied{envoy_http_conn_manager_prefix="netproxy_plaintext"}`},
		{"CONNECT", ask("CONNECT", quiet, withPath("quiet.audit.example:443")), `envoy_http_no_route{envoy_http_conn_manager_prefix="netproxy_intercept"}`},
		{"a connection by a rule", ask("GET", "https://banned.audit.example/"), `envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name="closed"}`},
		{"a connection by default", ask("GET", "tcp://203.0.113.99:6000"), `envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name="closed"}`},
	}
}

// TestDenialCounters: each kind of denial moves a counter that Prometheus reads, and nothing allowed does.
func TestDenialCounters(t *testing.T) {
	ctx := testContext(t, time.Minute)
	for _, name := range []string{"quiet.audit.example", "loud.audit.example", "unknown.audit.example", "banned.audit.example"} {
		testLab(t).World.Add(name)
	}
	p := startProxy(ctx, t, podAudit, egress(t, audited), "-l", "error")
	for _, d := range countedDenials() {
		before := p.counters(ctx, t)
		p.pod.Do(ctx, p.place(t, ask("GET", "https://quiet.audit.example/")))
		p.pod.Do(ctx, p.place(t, ask("GET", "tcp://203.0.113.66:6000")))
		between := p.counters(ctx, t)
		if between[d.counter] != before[d.counter] {
			t.Errorf("%s counts what is allowed", d.counter)
		}
		p.pod.Do(ctx, p.place(t, d.request))
		after := p.counters(ctx, t)
		if after[d.counter] != between[d.counter]+1 {
			t.Errorf("%s: %s went from %v to %v; counters that moved: %q", d.name, d.counter, between[d.counter], after[d.counter], moved(between, after))
		}
	}
}

var counterLine = regexp.MustCompile(`(?m)^(envoy_\w+(?:\{[^}]*\})?) (\d+)$`)

// counters reads the status port as Prometheus does.
func (p *proxy) counters(ctx context.Context, t *testing.T) map[string]int {
	t.Helper()
	status, body, err := p.envoy.Status(ctx, "/stats/prometheus")
	if err != nil || status != 200 {
		t.Fatalf("statistics: %d, %v", status, err)
	}
	out := map[string]int{}
	for _, m := range counterLine.FindAllSubmatch(body, -1) {
		out[string(m[1])], _ = strconv.Atoi(string(m[2]))
	}
	if len(out) < 20 {
		t.Fatalf("%d counters", len(out))
	}
	return out
}

func moved(before, after map[string]int) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if after[name] != before[name] {
			out = append(out, name)
		}
	}
	return out
}
