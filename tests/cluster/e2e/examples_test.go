package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
	"github.com/netproxy/netproxy/tests/trials"
)

// TestExamples applies every example on the cluster and tries what its header promises from inside of a pod, over IPv4 and
// IPv6.
func TestExamples(t *testing.T) {
	files, err := manifests.Examples()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(trials.Examples())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time is waiting for pods
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			tryExample(t, string(text), trials.Examples()[name])
		})
	}
}

func tryExample(t *testing.T, text string, list []trials.Trial) {
	e := newProtected(t, 3*time.Minute, "tool")
	for _, trial := range list {
		if trial.Request.Name != "" {
			e.name(t, trial.Request.Name)
		}
	}
	// The credentials of the test instead of those in the file.
	text = strings.NewReplacer("not-a-real-key-example-only", trials.Canary+"openai-api-key",
		"not-a-real-organization", trials.Canary+"openai-organization").Replace(text)
	e.protect(t, text)
	e.apply(t, toolPod("agent", "sleep"))
	e.ready(t, "agent")
	for _, trial := range list {
		for _, r := range e.placed(t, trial.Request) {
			e.try(t, r, trial.Want)
		}
	}
	e.checkRecords(t, list)
}

// placed gives a request the addresses of its name, one of each family. An address of its own stays.
func (e *env) placed(t *testing.T, r lab.Request) []lab.Request {
	t.Helper()
	if r.Dst.Addr().IsValid() {
		return []lab.Request{r}
	}
	v4, v6 := e.name(t, r.Name)
	over4, over6 := r, r
	over4.Dst, over6.Dst = netip.AddrPortFrom(v4, r.Dst.Port()), netip.AddrPortFrom(v6, r.Dst.Port())
	return []lab.Request{over4, over6}
}

// try sends a request and holds its end against what is wanted.
func (e *env) try(t *testing.T, r lab.Request, want trials.Outcome) {
	t.Helper()
	what := fmt.Sprintf("%s %s%s to %s", r.Method, r.Host, r.Path, r.Dst)
	res := e.request(t, "agent", r)
	if got := trials.EndOf(res); got != want.End {
		t.Errorf("%s: %s, want %s (%s, %v, body %s)", what, got, want.End, res, res.Err, res.Body)
	}
	for name, value := range want.Header {
		if res.Upstream == nil || !slices.Equal(res.Upstream.Header.Values(name), []string{value}) {
			t.Errorf("%s: upstream %+v, want the header %s: %s", what, res.Upstream, name, value)
		}
	}
}

// request sends a request of the lab's from inside of a pod, and adds what the world saw of it.
func (e *env) request(t *testing.T, pod string, r lab.Request) lab.Result {
	t.Helper()
	mark := e.mark(t)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out := e.run(t, pod, "/tool", "request", string(text))
	var res struct {
		lab.Result
		Body  []byte
		Error string
	}
	if err := json.Unmarshal([]byte(out.Stdout), &res); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	res.Result.Body = res.Body
	if res.Error != "" {
		res.Err = fmt.Errorf("%s", res.Error)
	}
	seen := e.since(t, mark, func(en control.Entry) bool {
		if r.Raw {
			return en.Kind == lab.Connection && strings.Contains(string(en.Raw), res.Token)
		}
		return en.Kind == lab.HTTP && en.Header.Get(lab.TokenHeader) == res.Token
	})
	if len(seen) > 0 {
		upstream := seen[0].Entry
		upstream.Header, upstream.Raw = seen[0].Header, seen[0].Raw
		res.Upstream = &upstream
	}
	return res.Result
}

// checkRecords compares the rules and verdicts of the audit records with those of the trials.
func (e *env) checkRecords(t *testing.T, list []trials.Trial) {
	t.Helper()
	want := map[string]bool{}
	for _, trial := range list {
		switch trial.Want.End {
		case trials.Arrives, trials.Plaintext, trials.Passed, trials.Raw:
			if trial.Want.Recorded {
				want["allow "+trial.Want.Rule] = true
			}
		default:
			want["deny "+trial.Want.Rule] = true
		}
	}
	var got map[string]bool
	e.eventually(t, 10*time.Second, func() string {
		got = e.records(t, "agent")
		return cmp.Diff(want, got)
	})
}

// records are the verdicts and rules on the proxy's standard output.
func (e *env) records(t *testing.T, pod string) map[string]bool {
	t.Helper()
	text, err := e.Logs(e.ctx, e.ns, pod, "netproxy")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		var record struct{ Verdict, Rule, Pod, Namespace string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Verdict != "" {
			out[strings.ToLower(record.Verdict)+" "+record.Rule] = true
			if record.Pod != pod {
				t.Errorf("a record of the pod %q in the log of %q", record.Pod, pod)
			}
		}
	}
	return out
}
