package plugin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shows makes agent-0 show a leaf that was issued at a time.
func (f *fakeAPI) shows(serial string, at time.Time) {
	f.pages[statusPort+"/certs"] = page{200, fmt.Sprintf(`{"certificates":[{"cert_chain":[{"serial_number":%q,"valid_from":%q,"expiration_time":%q}]}]}`,
		serial, at.Add(-24*time.Hour).Format(time.RFC3339), at.Add(90*24*time.Hour).Format(time.RFC3339))}
}

func TestRotate(t *testing.T) {
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	api := newFakeAPI(t, agentPolicy+readyStatus, basePolicy, agentPods, agentSecret)
	api.runs("8899aabbccddeeff", "")
	api.shows("aa01", noon.Add(-30*24*time.Hour))
	const plan = `EgressPolicy demo/agent: the leaf is issued again
├── now: leaf for 90d, CA for 10y
└── 1 running pods show serial aa01
`
	dry := api.executeIn("", "rotate", "leaf", "agent", "--dry-run")
	if dry.err != plan || dry.out != "" || dry.code != ExitGood {
		t.Errorf("dry run: %d %q %q", dry.code, dry.out, dry.err)
	}
	stopped, stop := context.WithCancel(t.Context())
	api.changed = func(*unstructured.Unstructured) { stop() }
	r := api.executeWith(stopped, "rotate", "leaf", "agent")
	if r.code != ExitFailed {
		t.Errorf("interrupted: %d %q %q", r.code, r.out, r.err)
	}
	looks := 0
	api.changed = nil
	api.asked = func(_, path string) {
		if path == statusPort+"/certs" {
			if looks++; looks == 4 {
				api.shows("bb02", noon)
			}
		}
	}
	resumed := api.executeIn("", "rotate", "leaf", "agent")
	want := result{"EgressPolicy demo/agent: new leaf, proven on 1 pods\n", strings.Replace(plan, "└── 1", "├── asked for already at 2026-11-01T12:00:00Z: going on\n└── 1", 1) +
		"✓ pod demo/agent-0 shows serial bb02, before aa01, valid for 89d\n", ExitGood}
	if diff := cmp.Diff(want, resumed, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	api.shows("cc03", noon.Add(-time.Hour))
	delete(api.objects[agentPath].Object["metadata"].(map[string]any), "annotations")
	late := api.executeIn("", "rotate", "ca", "--all", "--timeout", "3s")
	if late.code != ExitFailed || !strings.Contains(late.err, "time is up with 0 of 1 pods done: the request stands; to go on run kubectl netproxy rotate ca agent again") {
		t.Errorf("%d %q", late.code, late.err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"rotate"}, "rotate what? write leaf or ca"},
		{[]string{"rotate", "leaf"}, "whose leaf?"},
		{[]string{"rotate", "key", "agent"}, "rotate what?"},
		{[]string{"rotate", "ca", "agent", "--all"}, "exclude each other"},
		{[]string{"rotate", "ca", "cegp/base"}, "ClusterEgressPolicy base intercepts nothing"},
		{[]string{"rotate", "ca", "agent", "-A"}, "-A goes with --all"},
	} {
		if r := api.executeIn("", tc.args...); r.code != ExitFailed || !strings.Contains(r.err, tc.want) {
			t.Errorf("%v: %d %q", tc.args, r.code, r.err)
		}
	}
}
