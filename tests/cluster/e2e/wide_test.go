package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
)

const (
	wideKind   = v1alpha1.KindClusterEgressPolicy
	widePolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: %[1]s}
spec:
  namespaceSelector: {matchLabels: {team: %[1]s}}
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: api, action: Allow, hosts: [api.wide.example]}]
  mitm:
    domains: [api.wide.example]
    headerMutations:
    - {domain: api.wide.example, headers: [{name: Authorization, secretRef: {name: openai, key: key}, prefix: "Bearer "}]}
  trust: {additionalCAs: [{configMapRef: {name: world-ca, key: ca.crt}}]}
`
	wideURL = "https://api.wide.example/v1/x"
)

// team is what the namespaces of a test have in common; it is the policy's name too.
type team struct {
	*env // the first of them, and what outlives the others
	name string
}

func newTeam(t *testing.T) *team {
	t.Helper()
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "api.wide.example")
	w := &team{e, e.ns}
	t.Cleanup(func() { e.dropWide(w.name) })
	return w
}

// dropWide deletes a policy of the cluster and the pods that hold it.
func (e *env) dropWide(name string) {
	_, _ = e.Kubectl(e.ctx, "delete", "clusteregresspolicy", name, "--ignore-not-found", "--wait=false")
}

// join puts a namespace into the team, with a Secret of its own.
func (w *team) join(t *testing.T, e *env) {
	t.Helper()
	w.label(t, e.ns, `"`+w.name+`"`)
	e.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {key: sk-"+e.ns+"}\n")
}

func (w *team) label(t *testing.T, namespace, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"team":%s}}}`, value)
	if _, err := w.Client.CoreV1().Namespaces().Patch(w.ctx, namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *team) ready(t *testing.T) {
	t.Helper()
	w.eventually(t, 30*time.Second, func() string { return w.condition(t, v1alpha1.ConditionReady, metav1.ConditionTrue) })
}

func (w *team) condition(t *testing.T, kind string, value metav1.ConditionStatus) string {
	t.Helper()
	status := w.status(t, wideKind, w.name)
	for _, c := range status.Conditions {
		if c.Type == kind && c.Status == value {
			return ""
		}
	}
	return fmt.Sprintf("want %s %s: %+v", kind, value, status)
}

// secret is empty if the policy's Secret in a namespace is there, or is not.
func (e *env) secret(kind, policy string) string {
	_, err := e.Client.CoreV1().Secrets(e.ns).Get(e.ctx, v1alpha1.SecretName(kind, policy), metav1.GetOptions{})
	if err == nil {
		return "there"
	}
	if apierrors.IsNotFound(err) {
		return "gone"
	}
	return err.Error()
}

func (e *env) enabled(t *testing.T) bool {
	t.Helper()
	ns, err := e.Client.CoreV1().Namespaces().Get(e.ctx, e.ns, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Labels[v1alpha1.LabelEnabled] == "true"
}

// left waits until everything of a policy has left the namespace.
func (e *env) left(t *testing.T, kind, policy string) {
	t.Helper()
	e.eventually(t, 30*time.Second, func() string {
		if s := e.secret(kind, policy); s != "gone" {
			return "the policy's Secret: " + s
		}
		if e.enabled(t) {
			return "the namespace has the label still"
		}
		return ""
	})
}

func (e *env) deletePod(t *testing.T, name string) {
	t.Helper()
	if err := e.Client.CoreV1().Pods(e.ns).Delete(e.ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// gets sees to it that the upstream got the credential of the pod's own namespace.
func (e *env) gets(t *testing.T, pod, credential string) {
	t.Helper()
	out := e.run(t, pod, "/tool", "get", wideURL)
	if !strings.HasPrefix(out.Stdout, "ok status: 200") || !strings.Contains(out.Stdout, credential) {
		t.Errorf("%s/%s: want %s: %s", e.ns, pod, credential, out)
	}
}

// TestWidePolicy has a policy in two namespaces, then in others, and takes it away again.
func TestWidePolicy(t *testing.T) {
	w := newTeam(t)
	other := newProtected(t, 5*time.Minute, "tool")
	for _, e := range []*env{w.env, other} {
		w.join(t, e)
	}
	w.apply(t, fmt.Sprintf(widePolicy, w.name))
	w.ready(t)
	for _, e := range []*env{w.env, other} {
		e.apply(t, toolPod("agent", "sleep"))
	}
	for _, e := range []*env{w.env, other} {
		e.ready(t, "agent")
		e.gets(t, "agent", "Bearer sk-"+e.ns)
	}
	t.Run("credential missing in one namespace", func(t *testing.T) {
		other.remove(t, secretObject(t))
		w.eventually(t, arrives, func() string {
			return w.says(t, wideKind, w.name, v1alpha1.ConditionDegraded, v1alpha1.ReasonCredentialMissing, other.ns)
		})
		w.env.gets(t, "agent", "Bearer sk-"+w.ns)
		w.join(t, other)
		w.eventually(t, arrives, func() string { return w.says(t, wideKind, w.name, v1alpha1.ConditionDegraded, v1alpha1.ReasonNone, "") })
	})
	t.Run("new namespace", func(t *testing.T) { w.newNamespace(t) })
	t.Run("namespace leaves", func(t *testing.T) { w.leaves(t, other) })
	t.Run("deleted", func(t *testing.T) { w.deleted(t) })
}

// newNamespace is covered from its first moment: the answer to its creation has the label.
func (w *team) newNamespace(t *testing.T) {
	name := w.name + "-new"
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": w.name}}}
	got, err := w.Client.CoreV1().Namespaces().Create(w.ctx, ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Client.CoreV1().Namespaces().Delete(w.ctx, name, metav1.DeleteOptions{}) }()
	if got.Labels[v1alpha1.LabelEnabled] != "true" {
		t.Errorf("the new namespace is not covered: %v", got.Labels)
	}
	e := &env{w.Cluster, w.ctx, name}
	e.eventually(t, arrives, func() string {
		if s := e.secret(wideKind, w.name); s != "there" {
			return s
		}
		return ""
	})
}

// leaves: pods that run keep their policy, new ones do not get it, and with the last pod everything goes.
func (w *team) leaves(t *testing.T, e *env) {
	// With a policy of its own the namespace keeps its label: nothing but the pod's end tells that the Secret is not needed.
	e.protect(t, fmt.Sprintf(namespacedPolicy, "others"))
	w.label(t, e.ns, "null")
	time.Sleep(2 * time.Second)
	if s := e.secret(wideKind, w.name); s != "there" {
		t.Errorf("a pod runs, and the Secret is %s", s)
	}
	e.gets(t, "agent", "Bearer sk-"+e.ns)
	e.apply(t, strings.Replace(toolPod("next", "sleep"), "app: next", "app: agent", 1))
	if pod := e.ready(t, "next"); pod.Labels[v1alpha1.LabelPolicy] != "others" {
		t.Errorf("a new pod is under %q", pod.Labels[v1alpha1.LabelPolicy])
	}
	e.deletePod(t, "agent")
	e.eventually(t, 30*time.Second, func() string {
		if s := e.secret(wideKind, w.name); s != "gone" {
			return "the policy's Secret is " + s
		}
		return ""
	})
	w.ready(t)
}

// deleted: the policy and its Secret stay until no pod mounts it.
func (w *team) deleted(t *testing.T) {
	if err := w.policies(wideKind).Delete(w.ctx, w.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, arrives, func() string {
		return w.says(t, wideKind, w.name, v1alpha1.ConditionReady, v1alpha1.ReasonTerminating, "1 pods")
	})
	if s := w.secret(wideKind, w.name); s != "there" {
		t.Errorf("a pod runs, and the Secret is %s", s)
	}
	w.gets(t, "agent", "Bearer sk-"+w.ns)
	w.deletePod(t, "agent")
	w.left(t, wideKind, w.name)
	w.eventually(t, arrives, func() string {
		if w.status(t, wideKind, w.name) != nil {
			return "the policy is there still"
		}
		_, err := w.Client.CoreV1().Secrets(cluster.System).Get(w.ctx, v1alpha1.CASecretName("", w.name), metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Sprintf("the CA is there still: %v", err)
		}
		return ""
	})
}
