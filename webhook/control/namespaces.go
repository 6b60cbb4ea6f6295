package control

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

// Enabled is the value of the label of namespaces in which admission fails closed.
const Enabled = "true"

// uncoverAfter is how long a namespace has to have no need of the label before it is taken away: admission sets it just before a
// policy exists.
const uncoverAfter = 5 * time.Second

// coverage keeps that label.
type coverage struct {
	*cluster
	mu     sync.Mutex
	unused map[string]time.Time // since when a namespace with the label does not need it
}

func (c *cluster) addNamespaces(mgr manager.Manager) error {
	n := &coverage{cluster: c, unused: map[string]time.Time{}}
	b := builder.TypedControllerManagedBy[string](mgr).Named("namespaces")
	kinds := mgr.GetCache()
	b = b.WatchesRawSource(source.TypedKind(kinds, metadata("Namespace"), handler.TypedEnqueueRequestsFromMapFunc(
		func(_ context.Context, ns *metav1.PartialObjectMetadata) []string { return []string{ns.Name} })))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.EgressPolicy{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(_ context.Context, p *v1alpha1.EgressPolicy) []string { return []string{p.Namespace} }), specChanges[*v1alpha1.EgressPolicy]()))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.ClusterEgressPolicy{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(ctx context.Context, _ *v1alpha1.ClusterEgressPolicy) []string { return n.all(ctx) }), specChanges[*v1alpha1.ClusterEgressPolicy]()))
	b = b.WatchesRawSource(source.TypedKind(kinds, &corev1.Pod{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(_ context.Context, pod *corev1.Pod) []string {
			if inject.IsInjected(pod) && (!alive(pod) || pod.DeletionTimestamp != nil) {
				return []string{pod.Namespace} // perhaps the last one
			}
			return nil
		})))
	return b.Complete(n)
}

func (n *coverage) all(ctx context.Context) []string {
	list, err := n.namespaces(ctx)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, ns := range list {
		out = append(out, ns.Name)
	}
	return out
}

// Reconcile labels one namespace, or takes the label away when nothing there needs it any more.
func (n *coverage) Reconcile(ctx context.Context, name string) (reconcile.Result, error) {
	ns := metadata("Namespace")
	if err := n.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	needed, err := n.needed(ctx, selection.Namespace{Name: name, Labels: ns.Labels})
	if err != nil {
		return reconcile.Result{}, err
	}
	value, labelled := ns.Labels[v1alpha1.LabelEnabled]
	if needed || !labelled {
		n.forget(name)
	}
	switch {
	case needed && value != Enabled:
		return reconcile.Result{}, LabelNamespace(ctx, n, name, Enabled)
	case !needed && labelled:
		if wait := n.wait(name); wait > 0 {
			return reconcile.Result{RequeueAfter: wait}, nil
		}
		return reconcile.Result{}, LabelNamespace(ctx, n, name, "")
	}
	return reconcile.Result{}, nil
}

func (n *coverage) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.unused, name)
}

func (n *coverage) wait(name string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.unused[name]; !ok {
		n.unused[name] = n.clock()
	}
	return uncoverAfter - n.clock().Sub(n.unused[name])
}

// needed: a policy may select pods there, or pods of one that is gone still run there.
func (n *coverage) needed(ctx context.Context, ns selection.Namespace) (bool, error) {
	policies, err := n.policiesFor(ctx, ns.Name)
	if err != nil {
		return false, err
	}
	for _, p := range policies {
		if selection.SelectsNamespace(p, ns, n.Options.Namespace) {
			return true, nil
		}
	}
	if v1alpha1.IsSystemNamespace(ns.Name, n.Options.Namespace) {
		return false, nil
	}
	var pods corev1.PodList
	if err := n.List(ctx, &pods, client.InNamespace(ns.Name), client.HasLabels{v1alpha1.LabelPolicy}); err != nil {
		return false, fmt.Errorf("list pods of %s: %w", ns.Name, err)
	}
	return anyAlive(pods.Items), nil
}

// LabelNamespace sets the label, or takes it away if the value is empty.
func LabelNamespace(ctx context.Context, writer client.Writer, name, value string) error {
	text := "null"
	if value != "" {
		text = strconv.Quote(value)
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1alpha1.LabelEnabled, text)
	ns := &corev1.Namespace{}
	ns.Name = name
	if err := writer.Patch(ctx, ns, client.RawPatch(types.MergePatchType, []byte(patch)), FieldOwner); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("label namespace %s: %w", name, err))
	}
	return nil
}
