package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// maxNamed is how many pods and policies a status names.
const maxNamed = 16

// seenPod is a pod that runs, and the policies that want it, the winner first.
type seenPod struct {
	*corev1.Pod
	matching []v1alpha1.Policy
}

// view is what the status of one policy is computed from.
type view struct {
	policy     v1alpha1.Policy
	ref        xds.PolicyRef
	own        string // netproxy's namespace
	namespaces []selection.Namespace
	pods       []seenPod
	outcomes   map[string]Outcome
	states     map[types.NamespacedName]podState
}

// tally is what is counted.
type tally struct {
	v1alpha1.PodCounts
	unprotected []string
	behind      []string // pods that do not run the newest revision
	distrust    []string // pods that do not know the CA in use
	unreachable string
	rejected    *v1alpha1.RejectedConfig
	conflicts   map[xds.PolicyRef]*v1alpha1.PolicyConflict
}

func (v *view) count() tally {
	t := tally{conflicts: map[xds.PolicyRef]*v1alpha1.PolicyConflict{}}
	// A cache has no order. The same pods have to make the same status, or it would be written for ever.
	slices.SortFunc(v.pods, func(a, b seenPod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, pod := range v.pods {
		if inject.CountsAsProbe(pod.Pod) {
			continue
		}
		at := slices.IndexFunc(pod.matching, func(p v1alpha1.Policy) bool { return selection.RefOf(p) == v.ref })
		carried := inject.IsInjected(pod.Pod) && targetOfPod(pod.Pod).Ref() == v.ref
		if at >= 0 {
			v.countConflicts(&t, pod.matching, at)
		}
		// A pod of another policy that goes before this one is that policy's, and so is one that was created for it.
		if !carried && (at != 0 || inject.IsInjected(pod.Pod)) {
			continue
		}
		t.Selected++
		if !carried {
			t.unprotected = append(t.unprotected, pod.Namespace+"/"+pod.Name)
			continue
		}
		t.Injected++
		v.countProxy(&t, pod.Pod)
	}
	t.Unprotected = t.unprotected[:min(maxNamed, len(t.unprotected))]
	return t
}

func (v *view) countConflicts(t *tally, matching []v1alpha1.Policy, own int) {
	for i, other := range matching {
		if i == own {
			continue
		}
		ref := selection.RefOf(other)
		if t.conflicts[ref] == nil {
			t.conflicts[ref] = &v1alpha1.PolicyConflict{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, Wins: i < own}
		}
		t.conflicts[ref].Pods++
	}
}

func (v *view) countProxy(t *tally, pod *corev1.Pod) {
	name := pod.Namespace + "/" + pod.Name
	want, known := v.outcomes[pod.Namespace]
	state := v.states[client.ObjectKeyFromObject(pod)]
	if known && want.Issuer != "" && !trusts(pod.Annotations, want.Issuer) {
		t.distrust = append(t.distrust, name)
	}
	switch {
	case known && want.Failure == nil && state.For == want.Revision:
		t.InSync++
		return
	case state.Rejected != "" && t.rejected == nil:
		t.rejected = &v1alpha1.RejectedConfig{Revision: want.ConfigRevision, Pod: name, Reason: state.Rejected}
	case state.Unreachable != "" && t.unreachable == "":
		t.unreachable = fmt.Sprintf("%s: %s", name, state.Unreachable)
	}
	t.behind = append(t.behind, name)
}

// status is what is true now. Conditions that do not change keep their time.
func (v *view) status(now metav1.Time) v1alpha1.EgressPolicyStatus {
	t := v.count()
	out := v1alpha1.EgressPolicyStatus{
		ObservedGeneration: v.policy.GetGeneration(), Pods: t.PodCounts, Rejected: t.rejected,
	}
	for _, namespace := range slices.Sorted(maps.Keys(v.outcomes)) {
		o := v.outcomes[namespace]
		out.RenderedRevision = cmp.Or(out.RenderedRevision, o.Revision)
		out.LeafNotAfter = earliest(out.LeafNotAfter, metav1.NewTime(o.LeafNotAfter))
		out.CANotAfter = earliest(out.CANotAfter, metav1.NewTime(o.CANotAfter))
	}
	for _, c := range t.conflicts {
		out.Conflicts = append(out.Conflicts, *c)
	}
	slices.SortFunc(out.Conflicts, func(a, b v1alpha1.PolicyConflict) int {
		return cmp.Or(-cmp.Compare(a.Pods, b.Pods), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	out.Conflicts = out.Conflicts[:min(maxNamed, len(out.Conflicts))]
	out.Conditions = v.conditions(&t, now)
	return out
}

func earliest(a *metav1.Time, b metav1.Time) *metav1.Time {
	if b.IsZero() || a != nil && a.Before(&b) {
		return a
	}
	return new(metav1.NewTime(b.Rfc3339Copy().Time))
}
