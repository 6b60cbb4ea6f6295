package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

// probePolicies are one for the probe, and one of somebody else's.
const probePolicies = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: other}
spec: {podSelector: {matchLabels: {app: other}}, egress: {defaultAction: Deny}}
---
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec: {podSelector: {matchLabels: {app: agent}}, egress: {defaultAction: Deny}}
`

// probeRights let joe create pods and run commands in them, and jane change one policy too.
const probeRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods}
rules: [{apiGroups: [""], resources: [pods, pods/exec, pods/attach, pods/ephemeralcontainers], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: agent}
rules: [{apiGroups: [netproxy.dev], resources: [egresspolicies], resourceNames: [agent], verbs: [update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pods}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: joe}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: agent}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]
`

// probes is a namespace with those policies and people.
type probes struct {
	*env
	joe, jane *cluster.Cluster
}

func newProbes(t *testing.T) *probes {
	t.Helper()
	e := newProtected(t, 3*time.Minute, "tool")
	e.protect(t, probePolicies)
	e.apply(t, probeRights)
	p := &probes{env: e}
	for name, as := range map[string]**cluster.Cluster{"joe": &p.joe, "jane": &p.jane} {
		var err error
		if *as, err = e.As(name); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *probes) create(by *cluster.Cluster, label string, options ...string) (*corev1.Pod, error) {
	pod := inject.ProbePod(v1alpha1.ProbePrefix+"x7k2p", p.ns, xds.PolicyRef{Kind: v1alpha1.KindEgressPolicy, Namespace: p.ns, Name: "agent"})
	if label != "" {
		pod.Labels["app"] = label
	}
	return by.Client.CoreV1().Pods(p.ns).Create(p.ctx, pod, metav1.CreateOptions{DryRun: options})
}

// TestProbeAdmission: a probe is for those who may change the policy, and stays what it is. Its pod waits for its Secrets meanwhile.
func TestProbeAdmission(t *testing.T) {
	p := newProbes(t)
	refusals := func(t *testing.T, err error, word string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want %q", err, word)
		}
	}
	_, err := p.create(p.joe, "")
	refusals(t, err, `"joe" may not update EgressPolicy/`+p.ns+`/agent`)
	_, err = p.create(p.jane, "other")
	refusals(t, err, `"jane" may not update EgressPolicy/`+p.ns+`/other`)
	if _, err := p.create(p.jane, "agent", metav1.DryRunAll); err != nil {
		t.Fatalf("a dry run: %v", err)
	}
	pod, err := p.create(p.jane, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if c := pod.Spec.Containers; len(c) != 1 || c[0].Image != "netproxy.test/cli:1" || inject.ProxyOf(pod) == nil {
		t.Errorf("not what a probe is: %+v", c)
	}
	t.Run("fixed", func(t *testing.T) { p.fixed(t, pod, refusals) })
	t.Run("closed", func(t *testing.T) { p.closed(t, pod, refusals) })
	t.Run("not counted", func(t *testing.T) { p.uncounted(t) })
}

func (p *probes) fixed(t *testing.T, pod *corev1.Pod, refused func(*testing.T, error, string)) {
	patch := func(text string, subresource ...string) error {
		_, err := p.jane.Client.CoreV1().Pods(p.ns).Patch(p.ctx, pod.Name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}, subresource...)
		return err
	}
	refused(t, patch(`{"metadata":{"annotations":{"netproxy.dev/probe":null}}}`), "from its creation on or never")
	refused(t, patch(`{"metadata":{"labels":{"app":"other"}}}`), "metadata.labels")
	refused(t, patch(`{"spec":{"containers":[{"name":"probe","image":"netproxy.test/tool:1"}]}}`), "spec.containers[probe].image")
	refused(t, patch(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"netproxy.test/tool:1"}]}}`, "ephemeralcontainers"), "spec.ephemeralContainers")
	if err := patch(`{"metadata":{"annotations":{"harmless":"x"}}}`); err != nil {
		t.Errorf("a harmless change: %v", err)
	}
}

// closed: nobody gets a foot into the container with SYS_ADMIN. uncounted runs a command in another pod of joe's.
func (p *probes) closed(t *testing.T, pod *corev1.Pod, refused func(*testing.T, error, string)) {
	for _, user := range []*cluster.Cluster{p.joe, p.jane, p.Cluster} {
		for subresource, options := range map[string]runtime.Object{
			"exec": &corev1.PodExecOptions{Container: inject.ProbeContainer, Command: []string{"/kubectl-netproxy"}, Stdout: true},
			// No connection is upgraded: it does not come to that.
			"attach": &corev1.PodAttachOptions{Container: inject.ProbeContainer, Stdout: true},
		} {
			err := user.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.ns).Name(pod.Name).SubResource(subresource).
				VersionedParams(options, scheme.ParameterCodec).Do(p.ctx).Error()
			refused(t, err, "nobody runs commands in a probe pod")
		}
	}
}

// uncounted: the probe has the labels of the policy's pods, and is none of them.
func (p *probes) uncounted(t *testing.T) {
	p.apply(t, toolPod("agent", "sleep"))
	p.ready(t, "agent")
	p.eventually(t, arrives, func() string {
		out, err := p.Kubectl(p.ctx, "-n", p.ns, "get", "egresspolicy", "agent", "-o", "jsonpath={.status.pods}")
		var pods v1alpha1.PodCounts
		if err != nil || json.Unmarshal(out, &pods) != nil || pods.Selected != 1 || pods.InSync != 1 {
			return fmt.Sprintf("%s %v: want one pod, in sync", out, err)
		}
		return ""
	})
	if out, err := p.joe.Exec(p.ctx, p.ns, "agent", "app", "/tool"); err != nil {
		t.Errorf("no command runs in other pods either: %v\n%s", err, out)
	}
}
