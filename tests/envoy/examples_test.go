package envoy

import (
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/trials"
	"github.com/netproxy/netproxy/xds"
)

// TestExamples runs every example in the lab and compares what it does with what its header says.
func TestExamples(t *testing.T) {
	dir := must[fs.FS](t)(manifests.Examples())
	found := must[[]string](t)(fs.Glob(dir, "*.yaml"))
	table := trials.Examples()
	want := slices.Sorted(maps.Keys(table))
	if diff := cmp.Diff(want, found); diff != "" {
		t.Fatalf("trials and files differ (-trials +files):\n%s", diff)
	}
	for _, name := range found {
		t.Run(name, func(t *testing.T) { runExample(t, must[[]byte](t)(fs.ReadFile(dir, name)), table[name]) })
	}
}

func runExample(t *testing.T, text []byte, trials []trial) {
	ctx := testContext(t, 2*time.Minute)
	l := testLab(t)
	for _, trial := range trials {
		if trial.Request.Name != "" {
			l.World.Add(trial.Request.Name)
		}
	}
	policy := policyOf(t, text)
	p := startProxy(ctx, t, podExamples, policy, "-l", "error")
	if err := inForce(ctx, p.envoy, p.files.Revision()); err != nil {
		t.Fatal(err)
	}
	var want []record
	for _, trial := range trials {
		res, v := p.do(ctx, t, trial.Request)
		checkOutcome(t, trial, res, v)
		want = append(want, expectedRecords(p, trial, p.place(t, trial.Request))...)
	}
	compareRecords(t, want, p.stopAndRead(t))
	if stderr := p.envoy.Stderr(); len(stderr) > 0 {
		t.Errorf("Envoy complains:\n%s", tail(stderr, 4000))
	}
}

func checkOutcome(t *testing.T, trial trial, res lab.Result, v xds.Verdict) {
	t.Helper()
	what := trial.Request.Method + " " + trial.Request.Host + trial.Request.Path
	if got := endOf(res); got != trial.Want.End {
		t.Errorf("%s: %s, want %s (%s, %v, body %s)", what, got, trial.Want.End, res, res.Err, res.Body)
	}
	if v.Rule != trial.Want.Rule {
		t.Errorf("%s: decided by %q, want %q", what, v.Rule, trial.Want.Rule)
	}
	for name, value := range trial.Want.Header {
		if res.Upstream == nil || !slices.Equal(res.Upstream.Header.Values(name), []string{value}) {
			t.Errorf("%s: upstream %+v, want the header %s: %s", what, res.Upstream, name, value)
		}
	}
	if res.Upstream != nil && !trial.Request.Raw && res.Upstream.Host != trial.Request.Host {
		t.Errorf("%s: upstream got the Host %q", what, res.Upstream.Host)
	}
}

// expectedRecords: a denial is always recorded, something allowed if a rule says so.
func expectedRecords(p *proxy, trial trial, r lab.Request) []record {
	w := trial.Want
	out := record{
		Policy: p.plan.Ref.String(), Verdict: xds.Deny, Rule: w.Rule, RecordedBy: w.RecordedBy,
		Host: r.Host, Method: r.Method, Path: r.Path, Destination: r.Dst.String(),
	}
	if r.TLS {
		out.SNI = strings.TrimPrefix(r.SNI, "-")
	}
	if w.Path != "" {
		out.Path = strings.TrimPrefix(w.Path, "-")
	}
	switch w.End {
	case arrives, plaintext, passed, raw:
		if !w.Recorded {
			return nil
		}
		out.Verdict = xds.Allow
	}
	switch w.End {
	case arrives, plaintext:
		out.Status = 200
	case closed, passed, raw:
		out.Host, out.Method, out.Path = "", "", ""
	default:
		out.Status, _ = strconv.Atoi(string(w.End))
	}
	return []record{out}
}
