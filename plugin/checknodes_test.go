package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

func nodeObject(name, ready string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: %s}\nstatus: {nodeInfo: {operatingSystem: linux, kernelVersion: 6.18.2}, conditions: [{type: Ready, status: %q}]}\n---\n", name, ready)
}

// kubelets run the pods that look into nodes: status gives what the kubelet of a node says.
func (f *fakeAPI) kubelets(status func(node string) map[string]any) (made *[]corev1.Pod) {
	made = &[]corev1.Pod{}
	others := f.changed
	f.changed = func(o *unstructured.Unstructured) {
		if o.GetKind() != "Pod" {
			others(o)
			return
		}
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod); err != nil {
			f.t.Error(err)
			return
		}
		*made = append(*made, pod)
		node := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
		o.Object["spec"].(map[string]any)["nodeName"] = node
		o.Object["status"] = status(node)
	}
	return made
}

func containerState(phase string, state map[string]any) map[string]any {
	return map[string]any{"phase": phase, "containerStatuses": []any{map[string]any{"name": inject.NodeContainer, "state": state}}}
}

func said(t *testing.T, report nodereport.Node) map[string]any {
	t.Helper()
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	return containerState("Succeeded", map[string]any{"terminated": map[string]any{"exitCode": int64(0), "message": string(text)}})
}

func goodNode() nodereport.Node {
	return nodereport.Node{Kernel: "6.18.2", Redirects: []nodereport.Redirect{{Family: "IPv4"}, {Family: "IPv6"}}, MaxUserInstances: 128, MaxUserWatches: 8192}
}

func TestCheckNodes(t *testing.T) {
	spoilt := func(change func(*nodereport.Node)) map[string]any {
		report := goodNode()
		change(&report)
		return said(t, report)
	}
	const refusal = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"violates PodSecurity"}`
	for name, tt := range map[string]struct {
		status map[string]any
		refuse string
		args   []string
		want   map[string]severity
		text   string
		code   int
	}{
		"good":                   {status: said(t, goodNode()), want: map[string]severity{}, text: "1 nodes redirect connections"},
		"before an installation": {status: said(t, goodNode()), args: []string{"--pre"}, want: map[string]severity{}, text: "1 nodes redirect connections"},
		"no nf_tables": {status: spoilt(func(n *nodereport.Node) { n.Filter, n.Redirects = "protocol not supported", nil }),
			want: map[string]severity{"NP023": severityError}, text: "node n1 (Linux 6.18.2): the packet filter of a pod cannot be programmed: protocol not supported", code: ExitBad},
		"no redirect": {status: spoilt(func(n *nodereport.Node) { n.Redirects[1].Trouble = "refused" }),
			want: map[string]severity{"NP024": severityError}, text: "connections over IPv6 are not redirected: refused", code: ExitBad},
		"few instances": {status: spoilt(func(n *nodereport.Node) { n.MaxUserInstances = watchesAtMost - 1 }),
			want: map[string]severity{"NP025": severityWarning}, text: "fs.inotify.max_user_instances is 71; a proxy takes up to 8, and one more for each credential of its policy, 72 at most"},
		"enough":   {status: spoilt(func(n *nodereport.Node) { n.MaxUserInstances, n.MaxUserWatches = watchesAtMost, watchesAtMost }), want: map[string]severity{}},
		"no route": {status: spoilt(func(n *nodereport.Node) { n.Redirects = nil }), want: map[string]severity{"NP026": severityWarning}, text: "its pod has no route"},
		"no image": {status: containerState("Pending", map[string]any{"waiting": map[string]any{"reason": "ErrImagePull", "message": "not there"}}),
			want: map[string]severity{"NP026": severityWarning}, text: "node n1 could not be looked into: container node of its pod: ErrImagePull: not there"},
		"never starts": {status: containerState("Pending", map[string]any{"waiting": map[string]any{"reason": "ContainerCreating"}}),
			want: map[string]severity{"NP026": severityWarning}, text: "time is up: waiting for container node ContainerCreating: give it more with --timeout"},
		"an older image": {status: containerState("Failed", map[string]any{"terminated": map[string]any{"exitCode": int64(1), "message": `netproxy-init: "node" is none of capture, trust and version`}}),
			want: map[string]severity{"NP026": severityWarning}, text: "ended with 1: netproxy-init"},
		"another program": {status: containerState("Succeeded", map[string]any{"terminated": map[string]any{"exitCode": int64(0), "message": "hello"}}),
			want: map[string]severity{"NP026": severityWarning}, text: `its pod said \"hello\"`},
		"refused": {refuse: refusal, want: map[string]severity{"NP026": severityWarning}, text: "violates PodSecurity"},
	} {
		t.Run(name, func(t *testing.T) {
			api := healthy(t, nodeObject("n1", "True"))
			made := api.kubelets(func(string) map[string]any { return tt.status })
			if tt.refuse != "" {
				api.pages["POST /api/v1/namespaces/demo/pods"] = page{http.StatusForbidden, tt.refuse}
			}
			r := api.executeIn("", append([]string{"check", "--nodes", "-o", "json"}, tt.args...)...)
			if diff := cmp.Diff(tt.want, codes(t, r)); diff != "" || r.code != tt.code || !strings.Contains(r.out, tt.text) {
				t.Errorf("%d (-want +got):\n%s%s%s", r.code, diff, r.out, r.err)
			}
			for _, pod := range *made {
				if _, there := api.objects["/api/v1/namespaces/demo/pods/"+pod.Name]; there || !strings.HasPrefix(pod.Name, "netproxy-check-") {
					t.Errorf("pod %s is left", pod.Name)
				}
				if c := pod.Spec.Containers[0]; c.Image != "netproxy/netproxy-init:dev" || fmt.Sprint(c.SecurityContext.Capabilities.Add) != "[NET_ADMIN]" || c.Args[0] != "node" {
					t.Errorf("pod: %+v", c)
				}
			}
			if len(*made) == 0 && tt.refuse == "" {
				t.Error("no pod was made")
			}
		})
	}
}

// healthy is a cluster with netproxy, and with nodes.
func healthy(t *testing.T, nodes string) *fakeAPI {
	t.Helper()
	api := newFakeAPI(t, nodes)
	api.changed = api.available
	api.pages["/version"] = page{200, version}
	api.pages[reviews] = page{201, allowed}
	if r := api.executeIn("", "install", "--apply"); r.code != ExitGood {
		t.Fatal(r.err)
	}
	return api
}

// TestCheckManyNodes: each node has a pod of its own, nodes that are away have none, and what was left before goes.
func TestCheckManyNodes(t *testing.T) {
	const count = 3 * nodesAtOnce
	nodes := nodeObject("away", "Unknown") + strings.SplitAfter(badNodes, "---\n")[2]
	for i := range count {
		nodes = nodeObject(fmt.Sprintf("n%d", i), "True") + nodes
	}
	api := healthy(t, nodes)
	api.add("apiVersion: v1\nkind: Pod\nmetadata: {name: netproxy-check-old, namespace: demo, labels: {app.kubernetes.io/name: netproxy-check}}\nstatus: {phase: Failed}\n")
	api.add("apiVersion: v1\nkind: Pod\nmetadata: {name: other, namespace: demo, labels: {app.kubernetes.io/name: netproxy-check}}\nstatus: {phase: Failed}\n")
	made := api.kubelets(func(node string) map[string]any {
		report := goodNode()
		if node == "n3" {
			report.MaxUserWatches = 1
		}
		return said(t, report)
	})
	r := api.executeIn("", "check", "--nodes")
	for _, text := range []string{"WARNING  NP026  node away could not be looked into: it is not ready", "WARNING  NP025  node n3: fs.inotify.max_user_watches is 1;", fmt.Sprintf("OK       %d nodes redirect connections", count-1)} {
		if !strings.Contains(r.out, text) {
			t.Errorf("no %q in\n%s%s", text, r.out, r.err)
		}
	}
	names := map[string]bool{}
	for _, pod := range *made {
		names[pod.Name] = true
	}
	var left []string
	for path := range api.objects {
		if strings.Contains(path, "/pods/") {
			left = append(left, path)
		}
	}
	if diff := cmp.Diff([]string{"/api/v1/namespaces/demo/pods/other"}, left); diff != "" || len(names) != count {
		t.Errorf("%d pods; left (-want +got):\n%s", len(names), diff)
	}
}

// TestCheckNodesInterrupted: nothing is left.
func TestCheckNodesInterrupted(t *testing.T) {
	api := healthy(t, nodeObject("n1", "True")+nodeObject("n2", "True"))
	api.kubelets(func(string) map[string]any { return map[string]any{"phase": "Pending"} })
	ctx, interrupt := context.WithCancel(t.Context())
	created := false
	api.asked = func(method, path string) {
		if created && method == http.MethodGet && strings.Contains(path, "/pods/") {
			interrupt()
		}
		created = created || method == http.MethodPost && strings.HasSuffix(path, "/pods")
	}
	r := api.executeWith(ctx, "check", "--nodes")
	if r.code != ExitFailed || !created || ctx.Err() == nil {
		t.Errorf("%d, created %t: %s", r.code, created, r.err)
	}
	for path := range api.objects {
		if strings.Contains(path, "/pods/") {
			t.Errorf("%s is left", path)
		}
	}
}
