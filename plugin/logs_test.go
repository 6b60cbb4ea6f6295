package plugin

import (
	"os"
	"strings"
	"testing"
)

// agentPods are one pod with a proxy and one that was there before.
const agentPods = `apiVersion: v1
kind: Pod
metadata:
  name: agent-0
  namespace: demo
  uid: "0"
  labels: {app: agent, netproxy.dev/policy: agent, netproxy.dev/policy-kind: EgressPolicy}
  annotations: {netproxy.dev/revision: "0011223344556677"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: agent-7d9f, uid: r, controller: true}]
spec: {nodeName: node-1, containers: [{name: main}], initContainers: [{name: netproxy, restartPolicy: Always, image: "envoy:1"}]}
status:
  phase: Running
  initContainerStatuses: [{name: netproxy, ready: true, state: {running: {}}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: agent-old
  namespace: demo
  uid: "1"
  labels: {app: agent}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: agent-7d9f, uid: r, controller: true}]
spec: {nodeName: node-1, containers: [{name: main}]}
status: {phase: Running}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: agent-7d9f
  namespace: demo
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: agent, uid: d, controller: true}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent, namespace: demo}
`

const agentLog = "/api/v1/namespaces/demo/pods/agent-0/log"

func TestLogsOfPods(t *testing.T) {
	lines, err := os.ReadFile("testdata/learn/agent.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	api := newFakeAPI(t, agentPolicy, agentPods)
	api.pages[agentLog] = page{200, "not json\n" + string(lines)}
	for _, target := range [][]string{{}, {"agent"}, {"pod/agent-0"}} {
		r := api.executeIn("", append(append([]string{"logs"}, target...), "--denied", "--host", "203.0.113.99")...)
		want := "13:30:02  ✗ DENIED   demo/agent-0  tcp://203.0.113.99:25  rule default, recorded by record-all, closed\n" +
			"          kubectl netproxy explain pod/agent-0 -n demo tcp://203.0.113.99:25\n"
		if r.out != want || r.code != ExitGood || r.err != "" {
			t.Errorf("%v: %d %q %s", target, r.code, r.out, r.err)
		}
	}
	learned := api.executeIn("", "learn", "agent")
	if learned.code != ExitGood || !strings.Contains(learned.out, "# 25 requests to port 443") || !strings.Contains(learned.err, "33 of 33 records are allowed") ||
		!strings.Contains(learned.err, "does not record everything") {
		t.Errorf("%d %s%s", learned.code, learned.out, learned.err)
	}
	crashed := newFakeAPI(t, agentPolicy, strings.Replace(agentPods, "ready: true, state", "ready: true, restartCount: 3, state", 1))
	crashed.pages[agentLog] = api.pages[agentLog]
	if r := crashed.executeIn("", "learn", "agent"); !strings.Contains(r.err, "Warning: the proxy of pod demo/agent-0 was restarted 3 times") {
		t.Errorf("%d %s", r.code, r.err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"logs", "pod/agent-old"}, "error: pod demo/agent-old has no proxy: no policy selected it when it was created\n"},
		{[]string{"logs", "pod/gone"}, "error: there is no pod gone in namespace demo: see kubectl get pods -n demo\n"},
		{[]string{"learn", "pod/agent-0"}, "error: pod/agent-0: a policy is needed here, not a pod\n"},
	} {
		if r := api.executeIn("", tc.args...); r.err != tc.want || r.code != ExitFailed || r.out != "" {
			t.Errorf("%v: %d %q %q", tc.args, r.code, r.out, r.err)
		}
	}
	api.pages[agentLog] = page{500, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"message":"the kubelet does not answer"}`}
	if r := api.executeIn("", "logs", "agent"); !strings.Contains(r.err, "Warning: the log of pod demo/agent-0: the kubelet does not answer") {
		t.Errorf("%d %q", r.code, r.err)
	}
}
