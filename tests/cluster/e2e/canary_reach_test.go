package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/xds"
)

// canaryPod searches itself before it starts, and has two containers with a volume in common. The text is put together by shells, so that no
// manifest has it.
const canaryPod = `
apiVersion: v1
kind: Pod
metadata: {name: agent, labels: {app: agent}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: before
    image: "netproxy.test/tool:1"
    imagePullPolicy: Never
    command: [sh, -c, "x=` + canaryHead + `; /tool get https://api.canary.example.net/before | head -1; /tool find ${x}` + canaryTail + ` /"]
  containers:
  - {name: app, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [sleep], volumeMounts: [{name: common, mountPath: /common}]}
  - {name: second, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [sleep], volumeMounts: [{name: common, mountPath: /common}]}
  volumes: [{name: common, emptyDir: {}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: User, name: viewer, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: viewer}
rules: [{apiGroups: [netproxy.dev], resources: ["*"], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: policies}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: viewer}
subjects: [{kind: User, name: viewer, apiGroup: rbac.authorization.k8s.io}]
`

// TestCanaryReach looks for a credential in use from every place that the workload, or a user who may not read Secrets, can reach.
func TestCanaryReach(t *testing.T) {
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "api.canary.example.net")
	e.protect(t, canaryPolicy)
	e.apply(t, canaryPod)
	pod := e.ready(t, "agent")
	containers := []string{"app", "second"}
	for _, container := range containers { // the server echoes what it gets
		if out := e.in(t, container, "/tool", "get", "https://api.canary.example.net/"); !strings.Contains(out.Stdout, canaryHead+canaryTail) {
			t.Fatal(out)
		}
	}
	t.Run("inside", func(t *testing.T) { e.searchInside(t, containers) })
	t.Run("outside", func(t *testing.T) { e.searchOutside(t, pod) })
	// One that cannot be a header: whatever is said of it must not quote it.
	e.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: credential}\nstringData: {token: %q}\n", "bad\nvalue"+canaryHead+canaryTail))
	e.eventually(t, arrives, func() string {
		return e.says(t, "EgressPolicy", "canary", v1alpha1.ConditionDegraded, v1alpha1.ReasonCredentialMissing, "token")
	})
	t.Run("outside when refused", func(t *testing.T) { e.searchOutside(t, pod) })
}

func (e *env) searchOutside(t *testing.T, pod *corev1.Pod) {
	for _, page := range []string{xds.StatusReady, xds.StatusMetrics, xds.StatusRevision, xds.StatusCerts, xds.StatusRejected} {
		clean(t, page, e.statusPage(t, "agent", page))
	}
	e.searchLogs(t, pod)
	e.searchAPI(t)
}

func (e *env) in(t *testing.T, container string, command ...string) cluster.Output {
	t.Helper()
	out, err := e.Exec(e.ctx, e.ns, "agent", container, command...)
	if err != nil {
		t.Error(err)
	}
	return out
}

func (e *env) searchInside(t *testing.T, containers []string) {
	before, err := e.Logs(e.ctx, e.ns, "agent", "before")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(before, "ok status: 200") || !strings.HasSuffix(strings.TrimSpace(before), "ok found: 0") {
		t.Errorf("the init container: %s", before)
	}
	each(containers, func(container string) {
		if out := e.in(t, container, "/tool", "find", canaryHead+canaryTail, "/"); !strings.Contains(out.Stdout, "ok found: 0") {
			t.Errorf("the credential is in container %s: %s", container, out)
		}
	})
	// Positive controls: in a file of a volume, and in the environment of a process.
	e.in(t, "second", "sh", "-c", "x="+canaryHead+"; echo ${x}"+canaryTail+" >/common/control; y=${x}"+canaryTail+" /tool sleep >/dev/null 2>&1 & sleep 1")
	out := e.in(t, "app", "/tool", "find", canaryHead+canaryTail, "/common", "/proc")
	if !strings.Contains(out.Stdout, "found /common/control") {
		t.Errorf("the search does not find a file: %s", out)
	}
	if out := e.in(t, "second", "/tool", "find", canaryHead+canaryTail, "/proc"); !strings.Contains(out.Stdout, "/environ") {
		t.Errorf("the search does not find an environment: %s", out)
	}
}

// canaryForms are the credential as it is, and as encodings have it.
func canaryForms() []string {
	canary := canaryHead + canaryTail
	out := []string{canary, hex.EncodeToString([]byte(canary))}
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + canary))
		out = append(out, encoded[4:len(encoded)-4])
	}
	return out
}

func findCanary(text string) bool {
	return slices.ContainsFunc(canaryForms(), func(form string) bool { return strings.Contains(text, form) })
}

func clean(t *testing.T, where, text string) {
	t.Helper()
	if findCanary(text) {
		t.Errorf("the credential is in %s", where)
	}
	if text == "" {
		t.Errorf("%s is empty: nothing was searched", where)
	}
}

func (e *env) searchLogs(t *testing.T, pod *corev1.Pod) {
	proxy := ""
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		log, err := e.Logs(e.ctx, e.ns, pod.Name, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, "the log of "+c.Name, log+"\n")
		if c.Name == "netproxy" {
			proxy = log
		}
	}
	if !strings.Contains(proxy, "api.canary.example.net") {
		t.Errorf("the proxy's log has no record of the requests: %s", proxy)
	}
	replicas, err := e.Client.CoreV1().Pods(cluster.System).List(e.ctx, metav1.ListOptions{})
	if err != nil || len(replicas.Items) == 0 {
		t.Fatalf("no pods of netproxy: %v", err)
	}
	for _, replica := range replicas.Items {
		log, err := e.Logs(e.ctx, cluster.System, replica.Name, "webhook")
		if err != nil {
			t.Fatal(err)
		}
		clean(t, "the log of "+replica.Name, log)
		metrics, err := e.Client.CoreV1().Pods(cluster.System).ProxyGet("http", replica.Name, "8080", "/metrics", nil).DoRaw(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, "the metrics of "+replica.Name, string(metrics))
	}
}

// searchAPI reads every kind of object there is, in the test's namespace, in netproxy's, and those of the whole cluster.
func (e *env) searchAPI(t *testing.T) {
	read := e.readAPI(t, e.Cluster)
	t.Logf("an administrator reads %d kinds", len(read))
	for name, text := range read {
		if strings.HasSuffix(name, "/secrets") {
			if strings.Contains(name, e.ns) && !findCanary(text) {
				t.Error("the search does not find the credential in the Secrets")
			}
			continue
		}
		clean(t, name, text)
	}
	for user, least := range map[string]int{"viewer": 15, "system:serviceaccount:" + e.ns + ":default": 0} {
		as, err := e.As(user)
		if err != nil {
			t.Fatal(err)
		}
		own := e.readAPI(t, as)
		t.Logf("%s reads %d kinds", user, len(own))
		if len(own) < least {
			t.Errorf("%s reads %d kinds, want at least %d", user, len(own), least)
		}
		for name, text := range own {
			clean(t, user+": "+name, text)
		}
		for _, secret := range []string{"credential", "netproxy-egp-canary"} {
			if _, err := as.Client.CoreV1().Secrets(e.ns).Get(e.ctx, secret, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("%s reads %s: %v", user, secret, err)
			}
		}
	}
}

// readAPI is what a user can list, as JSON, by place and resource.
func (e *env) readAPI(t *testing.T, as *cluster.Cluster) map[string]string {
	t.Helper()
	lists, err := discovery.ServerPreferredResources(e.Client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range list.APIResources {
			places := []string{""}
			if kind.Namespaced {
				places = []string{e.ns, cluster.System}
			}
			for _, place := range places {
				objects, err := as.Dynamic.Resource(version.WithResource(kind.Name)).Namespace(place).List(e.ctx, metav1.ListOptions{})
				if err != nil {
					continue // forbidden
				}
				text, err := json.Marshal(objects)
				if err != nil {
					t.Fatal(err)
				}
				out[place+"/"+version.Group+"/"+kind.Name] = string(text)
			}
		}
	}
	return out
}
