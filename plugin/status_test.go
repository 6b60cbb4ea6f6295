package plugin

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const agentSecret = `apiVersion: v1
kind: Secret
metadata:
  name: netproxy-egp-agent
  namespace: demo
  annotations: {netproxy.dev/revision: "0011223344556677", netproxy.dev/config-revision: "8899aabbccddeeff"}
`

const troubled = `status:
  observedGeneration: 1
  pods: {selected: 2, injected: 1, inSync: 1, unprotected: [demo/agent-old]}
  renderedRevision: "0011223344556677"
  leafNotAfter: "2027-01-30T12:00:00Z"
  caNotAfter: "2036-10-31T12:00:00Z"
  conditions:
  - {type: Ready, status: "False", reason: PodsUnprotected, message: "1 pods run without the proxy", lastTransitionTime: "2026-10-31T12:00:00Z"}
  - {type: Degraded, status: "True", reason: CredentialMissing, message: "Secret openai is not there", lastTransitionTime: "2026-10-31T12:00:00Z"}
  - {type: Conflict, status: "False", reason: None, message: "no other policy selects its pods", lastTransitionTime: "2026-10-31T12:00:00Z"}
`

const statusPort = "/api/v1/namespaces/demo/pods/agent-0:15000/proxy"

// runs makes the sidecar of agent-0 answer.
func (f *fakeAPI) runs(revision, rejected string) {
	count := "0"
	config := "{}"
	if rejected != "" {
		count, config = "1", `{"configs":[{"name":"redirect.v4","error_state":{"details":"`+rejected+`"}}]}`
	}
	f.pages[statusPort+"/revision"] = page{200, `{"stats":[{"name":"listener_manager.lds.version_text","value":"` + revision + `"},{"name":"listener_manager.lds.update_rejected","value":` + count + `}]}`}
	f.pages[statusPort+"/rejected"] = page{200, config}
	f.pages[statusPort+"/certs"] = page{200, `{"certificates":[{"ca_cert":[],"cert_chain":[{"path":"/etc/envoy/tls/leaf.crt","serial_number":"3a4f5b6c7d8e9f00","expiration_time":"2027-01-30T12:00:00Z"}]}]}`}
}

// runningProbe has the labels of the policy's pods, and is none of them.
const runningProbe = `apiVersion: v1
kind: Pod
metadata:
  name: netproxy-probe-x7k2p
  namespace: demo
  labels: {app: agent, netproxy.dev/probe: "true"}
  annotations: {netproxy.dev/probe: EgressPolicy/agent}
spec:
  activeDeadlineSeconds: 900
  initContainers: [{name: netproxy, image: envoy, restartPolicy: Always}]
  containers: [{name: probe, image: cli}]
status: {phase: Running}
`

func TestStatus(t *testing.T) {
	api := newFakeAPI(t, agentPolicy+troubled, basePolicy, agentPods, runningProbe, agentSecret)
	api.runs("8899aabbccddeeff", "")
	check := func(want string, args ...string) {
		t.Helper()
		r := api.executeIn("", append([]string{"status"}, args...)...)
		if diff := cmp.Diff(want, "\n"+r.out); diff != "" || r.code != ExitGood || r.err != "" {
			t.Errorf("%v: %d %s (-want +got):\n%s", args, r.code, r.err, diff)
		}
	}
	const tree = `
EgressPolicy demo/agent  ✗ NOT READY  PodsUnprotected
├── selects app=agent: 2 pods, 1 with a proxy, 1 in sync
├── ! Ready  PodsUnprotected: 1 pods run without the proxy
├── ! Degraded  CredentialMissing: Secret openai is not there
├── leaf valid for 90d, CA for 10y
├── Secret demo/netproxy-egp-agent  revision 0011223344556677, configuration 8899aabbccddeeff
└── deployment/agent
    ├── AGENT-0
    └── ✗ NO PROXY     pod agent-old  it was created before the policy: kubectl rollout restart deployment/agent -n demo
`
	const agent = "✓ IN SYNC      pod agent-0  runs 8899aabbccddeeff, leaf 3a4f5b6c for 90d"
	check(strings.Replace(tree, "AGENT-0", agent, 1), "agent")
	check(`
NAME       DEFAULT  READY      PODS  REASON           AGE  REVISION          LEAF  CA
agent      Deny     ✗ False    1/2   PodsUnprotected  24h  0011223344556677  90d   10y
cegp/base  Allow    ! Unknown  0/0   NotSeenYet       24h  -                 -     -

! agent  PodsUnprotected: 1 pods run without the proxy
! agent  CredentialMissing: Secret openai is not there
`)
	api.runs("0000aabbccddeeff", "")
	check(strings.Replace(tree, "AGENT-0", "! BEHIND       pod agent-0  runs 0000aabbccddeeff, not yet 8899aabbccddeeff, leaf 3a4f5b6c for 90d", 1), "agent")
	api.runs("0000aabbccddeeff", "duplicate chain")
	check(strings.Replace(tree, "AGENT-0", "✗ REJECTED     pod agent-0  Envoy keeps 0000aabbccddeeff: redirect.v4: duplicate chain, leaf 3a4f5b6c for 90d", 1), "agent")
	api.pages[statusPort+"/revision"] = page{503, "no endpoints"}
	r := api.executeIn("", "status", "agent", "-o", "json")
	var view policyView
	if err := json.Unmarshal([]byte(r.out), &view); err != nil || len(view.Pods) != 2 || view.Pods[0].State != podUnreachable || view.Pods[1].State != podUnprotected {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	for _, request := range api.requests {
		if strings.Contains(request, "/secrets/openai") {
			t.Errorf("status reads a Secret of the user's: %s", request)
		}
	}
}

// TestStatusWatch: what changes is shown again, what does not is not, and an interrupt is a good end.
func TestStatusWatch(t *testing.T) {
	api := newFakeAPI(t, agentPolicy+readyStatus)
	ctx, stop := context.WithCancel(t.Context())
	looks := 0
	api.asked = func(_, path string) {
		if !strings.HasSuffix(path, "/egresspolicies") {
			return
		}
		switch looks++; looks {
		case 3:
			api.objects["/apis/netproxy.dev/v1alpha1/namespaces/demo/egresspolicies/agent"].Object["status"].(map[string]any)["pods"].(map[string]any)["inSync"] = int64(2)
		case 5:
			stop()
		}
	}
	r := api.executeWith(ctx, "status", "-w")
	if r.code != ExitGood || strings.Count(r.out, "NAME ") != 2 || !strings.Contains(r.out, "1/2") || !strings.Contains(r.out, "2/2") {
		t.Errorf("%d after %d looks: %q %q", r.code, looks, r.out, r.err)
	}
}
