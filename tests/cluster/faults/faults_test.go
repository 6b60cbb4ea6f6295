package faults

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/tests/cluster"
)

const policyText = `
apiVersion: v1
kind: Secret
metadata: {name: openai}
stringData: {key: sk-fault}
---
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress: {defaultAction: Deny, rules: [{action: Allow, hosts: [api.openai.com]}]}
  mitm:
    domains: [api.openai.com]
    headerMutations: [{domain: api.openai.com, headers: [{name: Authorization, secretRef: {name: openai, key: key}}]}]
`

// world is one policy in a namespace of its own.
type world struct {
	*cluster.Cluster
	ctx context.Context
	cfg *rest.Config // the program's own account
	ns  string
}

func open(t *testing.T) (*cluster.Cluster, *rest.Config) {
	t.Helper()
	c, err := cluster.Open()
	if errors.Is(err, cluster.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Kubectl(t.Context(), "apply", "--server-side", "--force-conflicts",
		"-f", "../../../manifests/crd/netproxy.dev_egresspolicies.yaml", "-f", "../../../manifests/crd/netproxy.dev_clusteregresspolicies.yaml",
		"-f", "../../../manifests/install/10-namespace.yaml", "-f", "../../../manifests/install/20-rbac.yaml", "-f", "../../../manifests/install/30-fence.yaml")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=30s", "crd/egresspolicies.netproxy.dev", "crd/clusteregresspolicies.netproxy.dev"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	account, err := c.As("system:serviceaccount:" + own + ":netproxy-webhook")
	if err != nil {
		t.Fatal(err)
	}
	return c, account.Config
}

func newWorld(t *testing.T, c *cluster.Cluster, cfg *rest.Config) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	w := &world{c, ctx, cfg, "fault-" + strings.ToLower(rand.Text()[:8])}
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Client.CoreV1().Namespaces().Delete(context.Background(), w.ns, metav1.DeleteOptions{})
	})
	if err := c.ApplyText(ctx, w.ns, policyText); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) policies() schema.GroupVersionResource {
	return v1alpha1.GroupVersion.WithResource("egresspolicies")
}

// policy is nil if it is gone.
func (w *world) policy(t *testing.T) *v1alpha1.EgressPolicy {
	t.Helper()
	object, err := w.Dynamic.Resource(w.policies()).Namespace(w.ns).Get(w.ctx, "agent", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var policy v1alpha1.EgressPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
		t.Fatal(err)
	}
	return &policy
}

func (w *world) patch(t *testing.T, patch string) {
	t.Helper()
	if _, err := w.Dynamic.Resource(w.policies()).Namespace(w.ns).Patch(w.ctx, "agent", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// secret is nil if it does not exist.
func (w *world) secret(t *testing.T, namespace, name string) map[string][]byte {
	t.Helper()
	secret, err := w.Client.CoreV1().Secrets(namespace).Get(w.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

func (w *world) rendered(t *testing.T) map[string][]byte {
	return w.secret(t, w.ns, v1alpha1.SecretName(v1alpha1.KindEgressPolicy, "agent"))
}

// rotation is the stored CA, empty if there is none.
func (w *world) rotation(t *testing.T) mitm.Rotation {
	t.Helper()
	data := w.secret(t, own, v1alpha1.CASecretName(w.ns, "agent"))
	if data == nil {
		return mitm.Rotation{}
	}
	state, err := mitm.ParseRotation(data)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func serial(ca *mitm.CA) string {
	if ca == nil {
		return ""
	}
	return ca.Certificate().SerialNumber.Text(16)
}

// eventually waits for an empty text.
func (w *world) eventually(t *testing.T, what string, check func() string) {
	t.Helper()
	problem := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if problem = check(); problem == "" {
			return
		}
	}
	t.Fatalf("%s: still %s", what, problem)
}

// settled is empty when the policy is as it should be.
func (w *world) settled(t *testing.T) string {
	policy, data := w.policy(t), w.rendered(t)
	switch {
	case policy == nil:
		return "no policy"
	case len(policy.Finalizers) == 0:
		return "no finalizer"
	case policy.Status.ObservedGeneration != policy.Generation:
		return "an old status"
	}
	for _, c := range policy.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
			return "not ready: " + c.Message
		}
	}
	if policy.Spec.MITM != nil && len(data["leaf.key"]) == 0 || len(data["lds.json"]) == 0 {
		return fmt.Sprintf("the Secret has only %v", slices.Sorted(maps.Keys(data)))
	}
	return ""
}

// change is something that makes the controllers write, and how it has to end.
type change struct {
	name string
	do   func(*testing.T, *world)
	// done is empty when all is as it should be; before is the CA that was there when the change was made, killed the one after the kill.
	done func(t *testing.T, w *world, before, killed mitm.Rotation) string
}

func changes() []change {
	return []change{
		{"create", nil, func(t *testing.T, w *world, _, killed mitm.Rotation) string {
			if had := serial(killed.Current); had != "" && serial(w.rotation(t).Current) != had {
				t.Fatalf("the CA was replaced: %s, then %s", had, serial(w.rotation(t).Current))
			}
			return w.settled(t)
		}},
		{"rotate CA", func(t *testing.T, w *world) {
			w.patch(t, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRotateCA, time.Now().UTC().Add(time.Second).Format(time.RFC3339)))
			time.Sleep(2100 * time.Millisecond)
			w.patch(t, `{"metadata":{"labels":{"touched":"yes"}}}`)
		}, func(t *testing.T, w *world, before, _ mitm.Rotation) string {
			now := w.rotation(t)
			switch {
			case serial(now.Current) != serial(before.Next):
				return "the next CA is not in use"
			case now.Previous == nil || !now.Previous.Equal(before.Current.Root()):
				return "the previous CA is not trusted"
			}
			if issuer := leafIssuer(t, w); issuer != "" {
				return issuer
			}
			return w.settled(t)
		}},
		{"interception off", func(t *testing.T, w *world) { w.patch(t, `{"spec":{"mitm":null}}`) },
			func(t *testing.T, w *world, _, _ mitm.Rotation) string {
				if w.rotation(t).Current != nil {
					return "the CA is still there"
				}
				if w.rendered(t)["leaf.key"] != nil {
					return "the leaf is still there"
				}
				return w.settled(t)
			}},
		{"delete", func(t *testing.T, w *world) {
			if err := w.Dynamic.Resource(w.policies()).Namespace(w.ns).Delete(w.ctx, "agent", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, w *world, _, _ mitm.Rotation) string {
			switch {
			case w.policy(t) != nil:
				return "the policy is still there"
			case w.rendered(t) != nil:
				return "its Secret is still there"
			case w.rotation(t).Current != nil:
				return "its CA is still there"
			}
			ns, err := w.Client.CoreV1().Namespaces().Get(w.ctx, w.ns, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if ns.Labels[v1alpha1.LabelEnabled] != "" {
				return "the namespace is still labelled"
			}
			return ""
		}},
	}
}

// leafIssuer is empty if the leaf is signed by the CA in use.
func leafIssuer(t *testing.T, w *world) string {
	data := w.rendered(t)
	leaf, err := mitm.ParseLeaf(data["leaf.crt"], data["leaf.key"])
	if err != nil {
		return err.Error()
	}
	if err := leaf.Certificate().CheckSignatureFrom(w.rotation(t).Current.Certificate()); err != nil {
		return "the leaf is not signed by the CA in use: " + err.Error()
	}
	return ""
}

// TestKilledAfterEachWrite counts the writes of each change, and then kills the program after the first, the second, and so on.
func TestKilledAfterEachWrite(t *testing.T) {
	c, cfg := open(t)
	for _, ch := range changes() {
		t.Run(ch.name, func(t *testing.T) {
			total := trial(t, c, cfg, ch, 0)
			if total < 2 {
				t.Fatalf("only %d writes were counted: nothing would be tried", total)
			}
			for n := 1; n <= total; n++ {
				t.Run(fmt.Sprintf("write %d of %d", n, total), func(t *testing.T) { trial(t, c, cfg, ch, n) })
			}
		})
	}
}

// trial makes the change with a program that dies after n writes, then starts another. It returns the number of writes.
func trial(t *testing.T, c *cluster.Cluster, cfg *rest.Config, ch change, n int) int {
	t.Helper()
	w := newWorld(t, c, cfg)
	only := about(w.ns, "agent")
	if ch.do != nil {
		_, _, stop := start(t, cfg, 0, only)
		w.eventually(t, "before the change", func() string { return w.settled(t) })
		stop()
		ch.do(t, w)
	}
	before := w.rotation(t)
	r, dead, stop := start(t, cfg, n, only)
	if n > 0 {
		select {
		case <-dead:
		case <-time.After(20 * time.Second):
			t.Error("the program was not killed: fewer writes than before")
		}
	} else {
		w.eventually(t, ch.name, func() string { return ch.done(t, w, before, before) })
		time.Sleep(time.Second) // the last status
	}
	stop()
	count, list := r.count()
	if n == 0 {
		t.Logf("%d writes: %s", count, strings.ReplaceAll(list, w.ns, "NS"))
		return count
	}
	killed := w.rotation(t)
	_, _, stop = start(t, cfg, 0, only)
	defer stop()
	w.eventually(t, ch.name+", killed", func() string { return ch.done(t, w, before, killed) })
	return count
}
