package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const readyStatus = `status:
  observedGeneration: 1
  pods: {selected: 2, injected: 2, inSync: 1}
  renderedRevision: "0011223344556677"
  leafNotAfter: "2027-01-30T12:00:00Z"
  caNotAfter: "2036-10-31T12:00:00Z"
  conditions:
  - {type: Ready, status: "False", reason: RollingOut, message: "1 of 2 pods run the revision", lastTransitionTime: "2026-10-31T12:00:00Z"}
`

func TestGet(t *testing.T) {
	api := newFakeAPI(t, agentPolicy+readyStatus, basePolicy)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"get"}, `
NAME       DEFAULT  READY      PODS  REASON      AGE
agent      Deny     ✗ False    1/2   RollingOut  24h
cegp/base  Allow    ! Unknown  0/0   NotSeenYet  24h
`},
		{[]string{"get", "-A", "-o", "wide"}, `
NAMESPACE  NAME       DEFAULT  READY      PODS  REASON      AGE  REVISION          LEAF  CA
demo       agent      Deny     ✗ False    1/2   RollingOut  24h  0011223344556677  90d   10y
-          cegp/base  Allow    ! Unknown  0/0   NotSeenYet  24h  -                 -     -
`},
		{[]string{"get", "base", "-o", "name"}, "\nclusteregresspolicy.netproxy.dev/base\n"},
		{[]string{"get", "cegp/base", "-o", "yaml"}, `
apiVersion: netproxy.dev/v1alpha1
kind: ClusterEgressPolicy
metadata:
  creationTimestamp: "2026-10-31T12:00:00Z"
  generation: 1
  name: base
spec:
  egress:
    defaultAction: Allow
`},
	} {
		r := api.executeIn("", tc.args...)
		if diff := cmp.Diff(tc.want, "\n"+r.out); diff != "" || r.code != ExitGood || r.err != "" {
			t.Errorf("%v: %d %s (-want +got):\n%s", tc.args, r.code, r.err, diff)
		}
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "nobody"}, "error: there is no policy nobody in namespace demo, and no cluster-wide one: see kubectl netproxy get -A\n"},
		{[]string{"get", "pod/x"}, "error: pod/x: a policy is needed here: write its name, or policy/NAME or cegp/NAME\n"},
		{[]string{"get", "-A", "agent"}, "error: -A lists all policies: leave out agent, or name a namespace with -n\n"},
	} {
		if r := api.executeIn("", tc.args...); r.err != tc.want || r.code != ExitFailed || r.out != "" {
			t.Errorf("%v: %d %q", tc.args, r.code, r.err)
		}
	}
	empty := newFakeAPI(t)
	if r := empty.executeIn("", "get"); r.out != "" || r.code != ExitGood || r.err != "No policies found in namespace demo. A first one: kubectl netproxy create policy --help\n" {
		t.Errorf("%d %q %q", r.code, r.out, r.err)
	}
}
