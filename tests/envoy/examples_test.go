package envoy

import (
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// trial is a request and what its policy's header promises.
type trial struct {
	request lab.Request
	want    outcome
}

// end is how a request ends.
type end string

const (
	arrives   end = "arrives intercepted"
	plaintext end = "arrives in plaintext"
	passed    end = "arrives with the upstream's own certificate"
	raw       end = "arrives as raw TCP"
	denied403 end = "403"
	closed    end = "closed without a byte"
	status401 end = "401"
	status404 end = "404"
	status421 end = "421"
	status400 end = "400"
	status503 end = "503"
)

type outcome struct {
	end    end
	rule   string            // that decides
	header map[string]string // at the upstream
	// recorded: the record of a request that is allowed; recordedBy is the rule that only records.
	recorded   bool
	recordedBy string
	path       string // in the record, if it is not the request's; "-" is none
}

// TestExamples runs every example in the lab and compares what it does with what its header says.
func TestExamples(t *testing.T) {
	dir := must[fs.FS](t)(manifests.Examples())
	found := must[[]string](t)(fs.Glob(dir, "*.yaml"))
	table := exampleTrials()
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
		if trial.request.Name != "" {
			l.World.Add(trial.request.Name)
		}
	}
	policy := policyOf(t, text)
	p := startProxy(ctx, t, podExamples, policy, "-l", "error")
	if err := inForce(ctx, p.envoy, p.files.Revision()); err != nil {
		t.Fatal(err)
	}
	var want []record
	for _, trial := range trials {
		res, v := p.do(ctx, t, trial.request)
		checkOutcome(t, trial, res, v)
		want = append(want, expectedRecords(p, trial, p.place(t, trial.request))...)
	}
	compareRecords(t, want, p.stopAndRead(t))
	if stderr := p.envoy.Stderr(); len(stderr) > 0 {
		t.Errorf("Envoy complains:\n%s", tail(stderr, 4000))
	}
}

func checkOutcome(t *testing.T, trial trial, res lab.Result, v xds.Verdict) {
	t.Helper()
	what := trial.request.Method + " " + trial.request.Host + trial.request.Path
	if got := endOf(res); got != trial.want.end {
		t.Errorf("%s: %s, want %s (%s, %v, body %s)", what, got, trial.want.end, res, res.Err, res.Body)
	}
	if v.Rule != trial.want.rule {
		t.Errorf("%s: decided by %q, want %q", what, v.Rule, trial.want.rule)
	}
	for name, value := range trial.want.header {
		if res.Upstream == nil || !slices.Equal(res.Upstream.Header.Values(name), []string{value}) {
			t.Errorf("%s: upstream %+v, want the header %s: %s", what, res.Upstream, name, value)
		}
	}
	if res.Upstream != nil && !trial.request.Raw && res.Upstream.Host != trial.request.Host {
		t.Errorf("%s: upstream got the Host %q", what, res.Upstream.Host)
	}
}

// endOf reads the end from both sides.
func endOf(res lab.Result) end {
	switch {
	case res.Upstream == nil && res.ClosedWithoutByte():
		return closed
	case res.Upstream == nil:
		return end(res.String())
	case res.Peer.FromLabCA():
		return passed
	case res.Peer != nil && res.Status == 200:
		return arrives
	case res.Status == 200:
		return plaintext
	case res.Status == 0 && res.Outcome == lab.Answered:
		return raw
	}
	return end("arrives, but the client got " + res.String())
}

// expectedRecords: a denial is always recorded, something allowed if a rule says so.
func expectedRecords(p *proxy, trial trial, r lab.Request) []record {
	w := trial.want
	out := record{
		Policy: p.plan.Ref.String(), Verdict: xds.Deny, Rule: w.rule, RecordedBy: w.recordedBy,
		Host: r.Host, Method: r.Method, Path: r.Path, Destination: r.Dst.String(),
	}
	if r.TLS {
		out.SNI = strings.TrimPrefix(r.SNI, "-")
	}
	if w.path != "" {
		out.Path = strings.TrimPrefix(w.path, "-")
	}
	switch w.end {
	case arrives, plaintext, passed, raw:
		if !w.recorded {
			return nil
		}
		out.Verdict = xds.Allow
	}
	switch w.end {
	case arrives, plaintext:
		out.Status = 200
	case closed, passed, raw:
		out.Host, out.Method, out.Path = "", "", ""
	default:
		out.Status, _ = strconv.Atoi(string(w.end))
	}
	return []record{out}
}

// stranger is an address that no policy of the examples names.
var stranger = netip.MustParseAddr("203.0.113.66")
