package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// settle is how long changes are gathered before a status is written.
const settle = 250 * time.Millisecond

// statuses writes what is true of each policy.
type statuses struct {
	*cluster
	meters meters
}

func (c *cluster) addStatus(mgr manager.Manager) error {
	meters, err := defaultMeters()
	if err != nil {
		return err
	}
	s := &statuses{c, meters}
	b := builder.TypedControllerManagedBy[xds.PolicyRef](mgr).Named("status")
	kinds := mgr.GetCache()
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.EgressPolicy{}, gather(itself[*v1alpha1.EgressPolicy])))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.EgressPolicy{}, gather(s.besides), specChanges[*v1alpha1.EgressPolicy]()))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.ClusterEgressPolicy{}, gather(itself[*v1alpha1.ClusterEgressPolicy])))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.ClusterEgressPolicy{}, gather(s.besidesWide), specChanges[*v1alpha1.ClusterEgressPolicy]()))
	b = b.WatchesRawSource(source.TypedKind(kinds, &corev1.Pod{}, gather(s.ofPod)))
	b = b.WatchesRawSource(source.TypedKind(kinds, metadata("Namespace"), gather(s.ofNamespace)))
	b = b.WatchesRawSource(source.TypedChannel(c.board.changedPolicies, gather(
		func(_ context.Context, ref xds.PolicyRef) []xds.PolicyRef { return []xds.PolicyRef{ref} })))
	return b.Complete(s)
}

// gather lets events of one policy that come close together become one.
func gather[T any](of func(context.Context, T) []xds.PolicyRef) handler.TypedEventHandler[T, xds.PolicyRef] {
	type queue = workqueue.TypedRateLimitingInterface[xds.PolicyRef]
	add := func(ctx context.Context, object T, q queue) {
		for _, ref := range of(ctx, object) {
			q.AddAfter(ref, settle)
		}
	}
	return handler.TypedFuncs[T, xds.PolicyRef]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[T], q queue) { add(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q queue) {
			add(ctx, e.ObjectOld, q)
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc:  func(ctx context.Context, e event.TypedDeleteEvent[T], q queue) { add(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[T], q queue) { add(ctx, e.Object, q) },
	}
}

// specChanges leaves out updates of status and finalizers, which concern no other policy and no namespace.
func specChanges[T client.Object]() predicate.TypedPredicate[T] {
	return predicate.TypedFuncs[T]{UpdateFunc: func(e event.TypedUpdateEvent[T]) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
			(e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
	}}
}

func itself[T v1alpha1.Policy](_ context.Context, policy T) []xds.PolicyRef {
	return []xds.PolicyRef{selection.RefOf(policy)}
}

// besides are the policies whose conflicts a policy may change.
func (s *statuses) besides(ctx context.Context, policy *v1alpha1.EgressPolicy) []xds.PolicyRef {
	return s.refs(ctx, policy.Namespace)
}

func (s *statuses) besidesWide(ctx context.Context, _ *v1alpha1.ClusterEgressPolicy) []xds.PolicyRef {
	return s.refs(ctx, "")
}

func (s *statuses) refs(ctx context.Context, namespace string) []xds.PolicyRef {
	policies, err := s.policiesFor(ctx, namespace)
	if err != nil {
		return nil
	}
	out := make([]xds.PolicyRef, 0, len(policies))
	for _, p := range policies {
		out = append(out, selection.RefOf(p))
	}
	return out
}

// ofPod are the policies that select a pod, and the one that it carries.
func (s *statuses) ofPod(ctx context.Context, pod *corev1.Pod) []xds.PolicyRef {
	policies, err := s.policiesFor(ctx, pod.Namespace)
	if err != nil {
		return nil
	}
	carried := targetOfPod(pod).Ref()
	var out []xds.PolicyRef
	for _, p := range policies {
		if ref := selection.RefOf(p); ref == carried || selection.Selects(p, pod.Labels) {
			out = append(out, ref)
		}
	}
	return out
}

func (s *statuses) ofNamespace(ctx context.Context, ns *metav1.PartialObjectMetadata) []xds.PolicyRef {
	return s.refs(ctx, ns.Name)
}

// Reconcile writes one policy's status, if it has changed.
func (s *statuses) Reconcile(ctx context.Context, ref xds.PolicyRef) (reconcile.Result, error) {
	policy, err := s.policy(ctx, ref)
	if err == nil && policy == nil {
		s.meters.forget(ref)
	}
	if err != nil || policy == nil {
		return reconcile.Result{}, err
	}
	view, err := s.look(ctx, policy)
	if err != nil {
		return reconcile.Result{}, err
	}
	status := view.status(metav1.NewTime(s.clock().Truncate(time.Second)))
	s.meters.set(ref, &status)
	if apiequality.Semantic.DeepEqual(&status, policy.PolicyStatus()) {
		return reconcile.Result{}, nil
	}
	s.report(policy, &status)
	return reconcile.Result{}, s.write(ctx, policy, &status)
}

// write replaces the whole status; nobody else writes it.
func (s *statuses) write(ctx context.Context, policy v1alpha1.Policy, status *v1alpha1.EgressPolicyStatus) error {
	patch, err := json.Marshal([]any{map[string]any{"op": "add", "path": "/status", "value": status}})
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	shell := policy.DeepCopyObject().(v1alpha1.Policy)
	if err := s.Status().Patch(ctx, shell, client.RawPatch(types.JSONPatchType, patch), FieldOwner); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write the status of %s: %w", selection.RefOf(policy), err))
	}
	return nil
}

// report makes an event of what an operator should notice.
func (s *statuses) report(policy v1alpha1.Policy, status *v1alpha1.EgressPolicyStatus) {
	if r := status.Rejected; r != nil && (policy.PolicyStatus().Rejected == nil || *policy.PolicyStatus().Rejected != *r) {
		s.events.Eventf(policy, nil, corev1.EventTypeWarning, v1alpha1.ReasonConfigRejected, "Observe", "pod %s: Envoy refused revision %s: %s", r.Pod, r.Revision, r.Reason)
	}
	for _, c := range status.Conditions {
		was := conditionOf(policy.PolicyStatus().Conditions, c.Type)
		bad := c.Type == v1alpha1.ConditionDegraded && c.Status == metav1.ConditionTrue
		if bad && (was == nil || was.Reason != c.Reason || was.Status != c.Status) {
			s.events.Eventf(policy, nil, corev1.EventTypeWarning, c.Reason, "Observe", "%s", c.Message)
		}
	}
}

// look gathers what the status is made of.
func (s *statuses) look(ctx context.Context, policy v1alpha1.Policy) (*view, error) {
	v := &view{policy: policy, ref: selection.RefOf(policy), own: s.Options.Namespace, states: map[types.NamespacedName]podState{}}
	names, err := s.namespacesOf(ctx, policy)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.lookAt(ctx, v, name); err != nil {
			return nil, err
		}
	}
	v.outcomes = s.board.outcomesOf(v.ref, names)
	return v, nil
}

func (s *statuses) lookAt(ctx context.Context, v *view, name string) error {
	ns := metadata("Namespace")
	if err := s.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
		return client.IgnoreNotFound(err)
	}
	seen := selection.Namespace{Name: name, Labels: ns.Labels}
	v.namespaces = append(v.namespaces, seen)
	policies, err := s.policiesFor(ctx, name)
	if err != nil {
		return err
	}
	var pods corev1.PodList
	if err := s.List(ctx, &pods, client.InNamespace(name)); err != nil {
		return fmt.Errorf("list pods of %s: %w", name, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		// Pods of others are neither counted nor in conflict with this policy.
		if !alive(pod) || !selection.Selects(v.policy, pod.Labels) && targetOfPod(pod).Ref() != v.ref {
			continue
		}
		key := client.ObjectKeyFromObject(pod)
		v.pods = append(v.pods, seenPod{pod, selection.Matching(policies, seen, v.own, pod.Labels)})
		v.states[key] = s.board.pod(key)
	}
	return nil
}
