package control

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

func agentTarget() Target {
	return Target{Kind: v1alpha1.KindEgressPolicy, PolicyNamespace: "demo", Policy: "agent", Namespace: "demo"}
}

// woken counts, and takes away, what the controllers of pods and of status were woken for.
func (b *board) woken() (targets, policies int) {
	for {
		select {
		case <-b.changedTargets:
			targets++
		case <-b.changedPolicies:
			policies++
		default:
			return targets, policies
		}
	}
}

func TestBoardWakes(t *testing.T) {
	b, target := newBoard(), agentTarget()
	same, revision, problem := rendered(), rendered(), rendered()
	revision.Revision = "r3"
	problem.Revision, problem.LeafNotAfter = "r3", time.Unix(1, 0)
	for _, step := range []struct {
		name              string
		do                func()
		targets, policies int
	}{
		{"first", func() { b.setOutcome(target, rendered()) }, 1, 1},
		{"the same", func() { b.setOutcome(target, same) }, 0, 0},
		{"a new revision", func() { b.setOutcome(target, revision) }, 1, 1},
		{"something else", func() { b.setOutcome(target, problem) }, 0, 1},
		{"a failure", func() { b.setOutcome(target, Outcome{Failure: &Failure{"X", "x"}}) }, 1, 1},
		{"the same failure", func() { b.setOutcome(target, Outcome{Failure: &Failure{"X", "x"}}) }, 0, 0},
		{"forgotten", func() { b.forgetTarget(target) }, 0, 1},
	} {
		step.do()
		if targets, policies := b.woken(); targets != step.targets || policies != step.policies {
			t.Errorf("%s: woke %d targets and %d policies, want %d and %d", step.name, targets, policies, step.targets, step.policies)
		}
	}
	if _, known := b.outcome(target); known {
		t.Error("a forgotten target is known")
	}
}

func TestBoardReleased(t *testing.T) {
	b, ref := newBoard(), agentTarget().Ref()
	b.release(ref, "u1")
	if !b.isReleased(ref, "u1") || b.isReleased(ref, "u2") {
		t.Error("a policy that has the name of one before it is taken for that")
	}
	b.forgetPolicy(ref)
	if b.isReleased(ref, "u1") {
		t.Error("not forgotten")
	}
}

// metas are the caches of metadata: versions of objects by kind and name.
type metas struct {
	client.Reader
	versions map[string]string
	err      error
}

func (m *metas) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if m.err != nil {
		return m.err
	}
	kind := "defaults"
	if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
		kind = meta.Kind
	}
	version, ok := m.versions[kind+" "+key.String()]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	object.SetResourceVersion(version)
	return nil
}

// TestSettled: a target is left alone as long as nothing that it is made of has changed, and not a moment longer.
func TestSettled(t *testing.T) {
	secret, config := types.NamespacedName{Namespace: "demo", Name: "netproxy-egp-agent"}, types.NamespacedName{Namespace: "demo", Name: "corp-ca"}
	missing := types.NamespacedName{Namespace: "demo", Name: "openai"}
	tests := map[string]struct {
		change func(*metas, *v1alpha1.EgressPolicy, *watch, *targets)
		want   bool
	}{
		"nothing":         {func(*metas, *v1alpha1.EgressPolicy, *watch, *targets) {}, true},
		"only the status": {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, _ *targets) { p.ResourceVersion = "99" }, true},
		"the Secret": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["Secret "+secret.String()] = "8"
		}, false},
		"the Secret deleted": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			delete(m.versions, "Secret "+secret.String())
		}, false},
		"the ConfigMap": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["ConfigMap "+config.String()] = "8"
		}, false},
		"the missing one comes": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["Secret "+missing.String()] = "1"
		}, false},
		"the caches cannot be read": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) { m.err = context.Canceled }, false},
		"the spec":                  {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, _ *targets) { p.Generation++ }, false},
		"another of the same name":  {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, _ *targets) { p.UID = "u2" }, false},
		"deleted": {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			p.DeletionTimestamp = new(metav1.Now())
		}, false},
		"a rotation is asked for": {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationRotateCA, "2026-11-26T00:00:00Z")
		}, false},
		"just before it is due": {func(_ *metas, _ *v1alpha1.EgressPolicy, w *watch, _ *targets) { w.now = w.now.Add(time.Hour - 1) }, true},
		"due":                   {func(_ *metas, _ *v1alpha1.EgressPolicy, w *watch, _ *targets) { w.now = w.now.Add(time.Hour) }, false},
		"forgotten":             {func(_ *metas, _ *v1alpha1.EgressPolicy, _ *watch, t *targets) { t.board.forgetTarget(agentTarget()) }, false},
		"meanwhile its CA rotates": {func(_ *metas, p *v1alpha1.EgressPolicy, _ *watch, t *targets) {
			t.settle(p, agentTarget(), authority{lookAgain: time.Minute}, versions{}, time.Hour)
		}, false},
		"an unrelated Secret": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) { m.versions["Secret demo/other"] = "1" }, true},
		"a ConfigMap of that name": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["ConfigMap "+missing.String()] = "1"
		}, true},
		"the cluster's defaults": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["defaults netproxy-system/netproxy-defaults"] = "3"
		}, false},
		"their metadata alone": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["ConfigMap netproxy-system/netproxy-defaults"] = "3"
		}, true},
		"its CA, which is elsewhere": {func(m *metas, _ *v1alpha1.EgressPolicy, _ *watch, _ *targets) {
			m.versions["Secret netproxy-system/ca"] = "5"
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := &metas{versions: map[string]string{"Secret " + secret.String(): "7", "ConfigMap " + config.String(): "7", "Secret netproxy-system/ca": "4"}}
			w := &watch{time.Unix(1_800_000_000, 0)}
			controller := &targets{&cluster{Reader: m, board: newBoard(), clock: w.read, rand: rand.Reader}}
			policy := agentPolicy("agent")
			policy.UID = "u1"
			signer := authority{lookAgain: lookAgain, versions: versions{secretAt(types.NamespacedName{Namespace: "netproxy-system", Name: "ca"}): "4"}}
			controller.settle(policy, agentTarget(), signer, versions{secretAt(secret): "7", configMapAt(config): "7", secretAt(missing): absent, defaultsAt("netproxy-system"): absent}, time.Hour)
			if _, settled := controller.isSettled(t.Context(), policy, agentTarget()); !settled {
				t.Fatal("not settled from the start")
			}
			tt.change(m, policy, w, controller)
			if _, settled := controller.isSettled(t.Context(), policy, agentTarget()); settled != tt.want {
				t.Errorf("settled: %v, want %v", settled, tt.want)
			}
		})
	}
}

func TestUntilRequested(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	policy := agentPolicy("agent")
	set := func(key string, at time.Time) {
		metav1.SetMetaDataAnnotation(&policy.ObjectMeta, key, at.UTC().Format(time.RFC3339))
	}
	if got := untilRequested(policy, now); got != lookAgain {
		t.Errorf("nothing asked for: %v", got)
	}
	set(v1alpha1.AnnotationRotateCA, now.Add(-time.Hour))
	set(v1alpha1.AnnotationRotateLeaf, now.Add(time.Minute))
	if diff := cmp.Diff(time.Minute, untilRequested(policy, now)); diff != "" {
		t.Error(diff)
	}
}
