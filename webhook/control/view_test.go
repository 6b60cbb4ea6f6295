package control

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/render"
	"github.com/netproxy/netproxy/webhook/selection"
)

func agentPolicy(name string) *v1alpha1.EgressPolicy {
	return &v1alpha1.EgressPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Generation: 3},
		Spec:       v1alpha1.EgressPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}},
	}
}

// rendered is a target that went well; its CA is aa.
func rendered() Outcome { return Outcome{Revision: "r2", ConfigRevision: "c2", Issuer: "aa"} }

// look is a view of the policy agent with one namespace and these pods, all of them in sync.
func look(pods ...*corev1.Pod) *view {
	policy := agentPolicy("agent")
	v := &view{
		policy: policy, ref: selection.RefOf(policy), own: "netproxy-system", outcomes: map[string]Outcome{"demo": rendered()},
		namespaces: []selection.Namespace{{Name: "demo", Labels: map[string]string{v1alpha1.LabelEnabled: "true"}}},
		states:     map[types.NamespacedName]podState{},
	}
	for _, pod := range pods {
		v.pods = append(v.pods, seenPod{pod, []v1alpha1.Policy{policy}})
		v.states[client.ObjectKeyFromObject(pod)] = podState{For: "r2"}
	}
	return v
}

func named(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := runningPod("r2")
	pod.Name = name
	pod.Annotations[v1alpha1.AnnotationTrusted] = "aa,bb"
	for _, c := range change {
		c(pod)
	}
	return pod
}

func bare(p *corev1.Pod) {
	p.Spec.InitContainers, p.Annotations, p.Labels = nil, nil, map[string]string{"app": "agent"}
}

func probe(p *corev1.Pod) {
	p.Labels = map[string]string{"app": "agent", v1alpha1.LabelProbe: "true"}
	p.Annotations = map[string]string{v1alpha1.AnnotationProbe: "EgressPolicy/agent"}
	p.Spec.ActiveDeadlineSeconds = new(inject.ProbeSeconds)
}

func (v *view) with(name string, state podState) {
	v.states[types.NamespacedName{Namespace: "demo", Name: name}] = state
}

func TestStatus(t *testing.T) {
	other := agentPolicy("other")
	tests := map[string]struct {
		view   func() *view
		counts [3]int32 // selected, injected, in sync
		want   map[string]string
		says   string // in the message of Ready
	}{
		"all well":     {func() *view { return look(named("a"), named("b")) }, [3]int32{2, 2, 2}, map[string]string{"Ready": "True InSync"}, "all 2 pods"},
		"selects none": {func() *view { return look() }, [3]int32{}, map[string]string{"Ready": "True NothingSelected"}, "no pod matches app=agent in namespace demo"},
		"not rendered": {func() *view { v := look(); v.outcomes = nil; return v }, [3]int32{}, map[string]string{"Ready": "False NotRendered"}, "namespace demo"},
		"cannot render": {func() *view {
			v := look(named("a"))
			v.outcomes["demo"] = Outcome{Failure: &Failure{v1alpha1.ReasonTooLarge, "too big"}}
			return v
		}, [3]int32{1, 1, 0}, map[string]string{"Ready": "False TooLarge", "Degraded": "True TooLarge"}, "too big"},
		"not covered": {func() *view { v := look(named("a")); v.namespaces[0].Labels = nil; return v }, [3]int32{1, 1, 1}, map[string]string{"Ready": "False NamespaceNotCovered", "Covered": "False NamespaceNotCovered"}, "demo"},
		"older pods":  {func() *view { return look(named("a"), named("b", bare)) }, [3]int32{2, 1, 1}, map[string]string{"Ready": "False PodsUnprotected"}, "demo/b: restart them"},
		"rolling out": {func() *view { v := look(named("a"), named("b")); v.with("b", podState{For: "r1"}); return v },
			[3]int32{2, 2, 1}, map[string]string{"Ready": "False RollingOut"}, "1 of 2 pods run the newest configuration; not yet: demo/b"},
		"unreachable": {func() *view {
			v := look(named("a"), named("b"))
			v.with("b", podState{Observation: Observation{Unreachable: "dial: refused"}})
			return v
		},
			[3]int32{2, 2, 1}, map[string]string{"Ready": "False RollingOut"}, "demo/b: dial: refused"},
		"rejected": {func() *view {
			v := look(named("a"))
			v.with("a", podState{Observation: Observation{Rejected: "bad listener"}})
			return v
		},
			[3]int32{1, 1, 0}, map[string]string{"Ready": "False ConfigRejected"}, "bad listener"},
		"distrusts": {func() *view {
			return look(named("a", func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationTrusted] = "bb" }))
		},
			[3]int32{1, 1, 1}, map[string]string{"Ready": "True InSync", "Degraded": "True PodsDistrustCA"}, ""},
		"a problem": {func() *view {
			v, o := look(named("a")), rendered()
			o.Problems = []render.Problem{{Reason: v1alpha1.ReasonCredentialMissing, Message: "no key"}}
			v.outcomes["demo"] = o
			return v
		},
			[3]int32{1, 1, 1}, map[string]string{"Ready": "True InSync", "Degraded": "True CredentialMissing"}, ""},
		"another wins": {func() *view {
			v := look(named("a", func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "other" }))
			v.pods[0].matching = []v1alpha1.Policy{other, v.policy}
			return v
		},
			[3]int32{}, map[string]string{"Ready": "True NothingSelected", "Conflict": "True OtherPolicyWins"}, ""},
		"wins over another": {func() *view {
			v := look(named("a"))
			v.pods[0].matching = []v1alpha1.Policy{v.policy, other}
			return v
		},
			[3]int32{1, 1, 1}, map[string]string{"Ready": "True InSync", "Conflict": "True WinsOverOthers"}, ""},
		"a probe": {func() *view { return look(named("a"), named("b", probe)) }, [3]int32{1, 1, 1}, map[string]string{"Ready": "True InSync", "Conflict": "False None"}, ""},
		"a probe between two policies": {func() *view {
			v := look(named("b", probe))
			v.pods[0].matching = []v1alpha1.Policy{v.policy, other}
			return v
		}, [3]int32{}, map[string]string{"Ready": "True NothingSelected", "Conflict": "False None"}, ""},
		"says that it is a probe, and is not injected": {func() *view {
			return look(named("b", probe, func(p *corev1.Pod) { p.Spec.InitContainers = nil }))
		},
			[3]int32{1, 0, 0}, map[string]string{"Ready": "False PodsUnprotected"}, "demo/b"},
		"says that it is a probe, and does not end": {func() *view {
			return look(named("b", probe, func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = nil }))
		},
			[3]int32{1, 0, 0}, map[string]string{"Ready": "False PodsUnprotected"}, "demo/b"},
		"lost its labels, keeps its pods": {func() *view { v := look(named("a")); v.pods[0].matching = nil; return v }, [3]int32{1, 1, 1}, map[string]string{"Ready": "True InSync"}, ""},
		"deleted": {func() *view {
			v := look(named("a"))
			v.policy.(*v1alpha1.EgressPolicy).DeletionTimestamp = new(metav1.Now())
			return v
		},
			[3]int32{1, 1, 1}, map[string]string{"Ready": "False Terminating"}, "1 pods still run with it"},
		"weakened":   {func() *view { v := look(); v.policy.PolicySpec().Proxy.AllowUserChange = true; return v }, [3]int32{}, map[string]string{"Weakened": "True UserChangeAllowed"}, ""},
		"fixed user": {func() *view { v := look(); v.policy.PolicySpec().Proxy.UID = new(int64(5000)); return v }, [3]int32{}, map[string]string{"Weakened": "True UIDFixed"}, ""},
		"pod security": {func() *view { v := look(); v.namespaces[0].Labels[podSecurityLabel] = "restricted"; return v }, [3]int32{},
			map[string]string{"Ready": "True NothingSelected", "PodSecurity": "False PrivilegedNeeded"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.view().status(metav1.Now())
			if counts := [3]int32{got.Pods.Selected, got.Pods.Injected, got.Pods.InSync}; counts != tt.counts {
				t.Errorf("selected, injected, in sync: %v, want %v", counts, tt.counts)
			}
			if got.ObservedGeneration != 3 || len(got.Conditions) != 6 {
				t.Errorf("generation %d, %d conditions", got.ObservedGeneration, len(got.Conditions))
			}
			has := map[string]string{}
			for _, c := range got.Conditions {
				if _, ok := tt.want[c.Type]; ok {
					has[c.Type] = string(c.Status) + " " + c.Reason
				}
				if c.Message == "" {
					t.Errorf("%s has no message", c.Type)
				}
			}
			if diff := cmp.Diff(tt.want, has); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if ready := conditionOf(got.Conditions, v1alpha1.ConditionReady); !strings.Contains(ready.Message, tt.says) {
				t.Errorf("Ready says %q, want %q", ready.Message, tt.says)
			}
		})
	}
}

// TestStatusHasNoOrder: caches list pods in any order. A status that depended on it would be written for ever.
func TestStatusHasNoOrder(t *testing.T) {
	states := []podState{{For: "r2"}, {For: "r1"}, {Observation: Observation{Unreachable: "refused"}}, {Observation: Observation{Rejected: "bad"}}}
	build := func() *view {
		var pods []*corev1.Pod
		for i := range 40 {
			pods = append(pods, named(fmt.Sprintf("p%02d", i), func(p *corev1.Pod) {
				switch i % 5 {
				case 0:
					bare(p)
				case 1:
					delete(p.Annotations, v1alpha1.AnnotationTrusted)
				}
			}))
		}
		v := look(pods...)
		for i := range 40 {
			v.with(fmt.Sprintf("p%02d", i), states[i%4])
			if i%3 == 0 {
				v.pods[i].matching = append(v.pods[i].matching, agentPolicy("x"), agentPolicy("y"))
			}
		}
		return v
	}
	now := metav1.Now()
	want := build().status(now)
	for range 20 {
		v := build()
		rand.Shuffle(len(v.pods), func(i, k int) { v.pods[i], v.pods[k] = v.pods[k], v.pods[i] })
		if diff := cmp.Diff(want, v.status(now)); diff != "" {
			t.Fatalf("another order, another status:\n%s", diff)
		}
	}
	if len(want.Pods.Unprotected) != 8 || want.Rejected == nil || len(want.Conflicts) != 2 {
		t.Errorf("the status does not have what can depend on an order: %+v", want)
	}
}

func TestConditionsKeepTheirTime(t *testing.T) {
	before, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	v := look(named("a"))
	v.policy.PolicyStatus().Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: before},
		{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, LastTransitionTime: before},
	}
	got := v.status(now).Conditions
	if at := conditionOf(got, v1alpha1.ConditionReady).LastTransitionTime; !at.Equal(&before) {
		t.Errorf("Ready did not change, and its time is %v", at)
	}
	if at := conditionOf(got, v1alpha1.ConditionDegraded).LastTransitionTime; !at.Equal(&now) {
		t.Errorf("Degraded changed, and its time is %v", at)
	}
}

func TestEarliestExpiry(t *testing.T) {
	v := look()
	late, soon := rendered(), rendered()
	late.LeafNotAfter, soon.LeafNotAfter = time.Unix(9000, 5), time.Unix(4000, 5)
	v.outcomes = map[string]Outcome{"a": late, "b": soon, "c": {}}
	got := v.status(metav1.Now())
	if got.LeafNotAfter == nil || got.LeafNotAfter.Unix() != 4000 || got.LeafNotAfter.Nanosecond() != 0 || got.CANotAfter != nil {
		t.Errorf("leaf until %v, CA until %v", got.LeafNotAfter, got.CANotAfter)
	}
}

func TestSome(t *testing.T) {
	list := strings.Split(strings.Repeat("x,", 20)+"x", ",")
	if got := some(list); !strings.HasSuffix(got, "x and 5 more") || strings.Count(got, "x") != 16 {
		t.Error(got)
	}
}
