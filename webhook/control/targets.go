package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// lookAgain bounds how long a target goes without a look at it: certificates come of age.
const lookAgain = 6 * time.Hour

// targets writes the Secret of each policy in each namespace.
type targets struct{ *cluster }

func (c *cluster) addTargets(mgr manager.Manager) error {
	t := &targets{c}
	b := builder.TypedControllerManagedBy[Target](mgr).Named("targets").
		WithOptions(controller.TypedOptions[Target]{MaxConcurrentReconciles: c.Workers})
	kinds := mgr.GetCache()
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.EgressPolicy{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(ctx context.Context, p *v1alpha1.EgressPolicy) []Target { return t.ofPolicy(ctx, p) })))
	b = b.WatchesRawSource(source.TypedKind(kinds, &v1alpha1.ClusterEgressPolicy{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(ctx context.Context, p *v1alpha1.ClusterEgressPolicy) []Target { return t.ofPolicy(ctx, p) })))
	b = b.WatchesRawSource(source.TypedKind(kinds, metadata("Secret"), handler.TypedEnqueueRequestsFromMapFunc(t.ofSecret)))
	b = b.WatchesRawSource(source.TypedKind(kinds, metadata("ConfigMap"), handler.TypedEnqueueRequestsFromMapFunc(t.ofConfigMap)))
	b = b.WatchesRawSource(source.TypedKind(t.defaults, &corev1.ConfigMap{}, handler.TypedEnqueueRequestsFromMapFunc(t.ofDefaults)))
	b = b.WatchesRawSource(source.TypedKind(kinds, metadata("Namespace"), handler.TypedEnqueueRequestsFromMapFunc(t.ofNamespace)))
	return b.Complete(t)
}

// Reconcile brings one target to where its policy wants it.
func (t *targets) Reconcile(ctx context.Context, target Target) (reconcile.Result, error) {
	policy, err := t.policy(ctx, target.Ref())
	if err != nil {
		return reconcile.Result{}, err
	}
	if policy == nil {
		t.board.forgetPolicy(target.Ref())
		return t.withdraw(ctx, target)
	}
	if policy.GetDeletionTimestamp() != nil {
		return t.terminate(ctx, policy, target)
	}
	selected, err := t.selected(ctx, policy, target.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if selected {
		return t.keep(ctx, policy, target)
	}
	pods, err := t.podsOf(ctx, target.Ref(), target.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !anyAlive(pods) {
		return t.withdraw(ctx, target)
	}
	// Pods from a time when it was. Nothing else may tell when the last one ends.
	result, err := t.keep(ctx, policy, target)
	result.RequeueAfter = min(result.RequeueAfter, podsLinger)
	return result, err
}

// keep writes the Secret, after the finalizer that makes sure of its end.
func (t *targets) keep(ctx context.Context, policy v1alpha1.Policy, target Target) (reconcile.Result, error) {
	if err := t.addFinalizer(ctx, policy); err != nil {
		return reconcile.Result{}, err
	}
	return t.publish(ctx, policy, target)
}

// selected says whether the policy can have pods in the namespace.
func (t *targets) selected(ctx context.Context, policy v1alpha1.Policy, namespace string) (bool, error) {
	ns := metadata("Namespace")
	if err := t.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return ns.DeletionTimestamp == nil && selection.SelectsNamespace(policy, selection.Namespace{Name: namespace, Labels: ns.Labels}, t.Namespace), nil
}

func (t *targets) addFinalizer(ctx context.Context, policy v1alpha1.Policy) error {
	if controllerutil.ContainsFinalizer(policy, v1alpha1.Finalizer) {
		return nil
	}
	changed := policy.DeepCopyObject().(v1alpha1.Policy)
	controllerutil.AddFinalizer(changed, v1alpha1.Finalizer)
	if err := t.Patch(ctx, changed, client.MergeFromWithOptions(policy, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("add the finalizer to %s: %w", selection.RefOf(policy), err)
	}
	return nil
}

// ofPolicy are the targets of a policy: every namespace that it selects, or has a Secret in.
func (t *targets) ofPolicy(ctx context.Context, policy v1alpha1.Policy) []Target {
	ref := selection.RefOf(policy)
	if ref.Namespace != "" {
		return []Target{targetOf(ref, ref.Namespace)}
	}
	names, err := t.namespacesOf(ctx, policy)
	if err != nil {
		return nil // the cache is not there yet; its objects enqueue themselves
	}
	out := make([]Target, 0, len(names))
	for _, name := range names {
		out = append(out, targetOf(ref, name))
	}
	if len(out) == 0 {
		out = append(out, targetOf(ref, "")) // nowhere, and yet it may have to be released
	}
	return out
}

// namespacesOf are the namespaces that a policy selects, and those in which it still has a Secret.
func (c *cluster) namespacesOf(ctx context.Context, policy v1alpha1.Policy) ([]string, error) {
	all := []selection.Namespace{{Name: policy.GetNamespace()}}
	if policy.GetNamespace() == "" {
		var err error
		if all, err = c.namespaces(ctx); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	var out []string
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, ns := range all {
		if selection.SelectsNamespace(policy, ns, c.Options.Namespace) {
			add(ns.Name)
		}
	}
	secrets, err := c.secretsOf(ctx, selection.RefOf(policy))
	if err != nil {
		return nil, err
	}
	for i := range secrets {
		add(secrets[i].Namespace)
	}
	return out, nil
}

// secretsOf are the rendered Secrets of a policy, by their metadata.
func (c *cluster) secretsOf(ctx context.Context, ref xds.PolicyRef) ([]metav1.PartialObjectMetadata, error) {
	list := metadataList("Secret")
	err := c.List(ctx, list, client.InNamespace(ref.Namespace), client.MatchingLabels{
		v1alpha1.LabelManaged: "true", v1alpha1.LabelPolicy: ref.Name, v1alpha1.LabelPolicyKind: ref.Kind,
	})
	if err != nil {
		return nil, fmt.Errorf("list Secrets of %s: %w", ref, err)
	}
	var out []metav1.PartialObjectMetadata
	for i := range list.Items {
		if v1alpha1.IsSecretName(list.Items[i].Name) {
			out = append(out, list.Items[i])
		}
	}
	return out, nil
}

// ofSecret are the targets that a Secret is for, or that read it.
func (t *targets) ofSecret(ctx context.Context, secret *metav1.PartialObjectMetadata) []Target {
	if secret.Namespace == t.Namespace {
		return t.ofAuthority(ctx, secret.Name)
	}
	if v1alpha1.IsSecretName(secret.Name) {
		// The name decides: somebody may have taken the labels away.
		if name, ok := strings.CutPrefix(secret.Name, v1alpha1.SecretName(v1alpha1.KindClusterEgressPolicy, "")); ok {
			return []Target{{v1alpha1.KindClusterEgressPolicy, "", name, secret.Namespace}}
		}
		name := strings.TrimPrefix(secret.Name, v1alpha1.SecretName(v1alpha1.KindEgressPolicy, ""))
		return []Target{{v1alpha1.KindEgressPolicy, secret.Namespace, name, secret.Namespace}}
	}
	return t.readers(ctx, secretIndex, secret)
}

func (t *targets) ofConfigMap(ctx context.Context, object *metav1.PartialObjectMetadata) []Target {
	return t.readers(ctx, configMapIndex, object)
}

// readers are the targets of policies that refer to an object.
func (t *targets) readers(ctx context.Context, index string, object client.Object) []Target {
	var out []Target
	var own v1alpha1.EgressPolicyList
	if t.List(ctx, &own, client.InNamespace(object.GetNamespace()), client.MatchingFields{index: object.GetName()}) == nil {
		for i := range own.Items {
			out = append(out, targetOf(selection.RefOf(&own.Items[i]), object.GetNamespace()))
		}
	}
	var wide v1alpha1.ClusterEgressPolicyList
	if t.List(ctx, &wide, client.MatchingFields{index: object.GetName()}) == nil {
		for i := range wide.Items {
			out = append(out, targetOf(selection.RefOf(&wide.Items[i]), object.GetNamespace()))
		}
	}
	return out
}

// ofAuthority are the targets that a CA in netproxy's own namespace signs for.
func (t *targets) ofAuthority(ctx context.Context, name string) []Target {
	var out []Target
	if namespace, policyName, ok := v1alpha1.PolicyOfCASecret(name); ok {
		kind := v1alpha1.KindEgressPolicy
		if namespace == "" {
			kind = v1alpha1.KindClusterEgressPolicy
		}
		if policy, err := t.policy(ctx, xds.PolicyRef{Kind: kind, Namespace: namespace, Name: policyName}); err == nil && policy != nil {
			out = t.ofPolicy(ctx, policy)
		}
	}
	var own v1alpha1.EgressPolicyList
	if t.List(ctx, &own, client.MatchingFields{caIndex: name}) == nil {
		for i := range own.Items {
			out = append(out, t.ofPolicy(ctx, &own.Items[i])...)
		}
	}
	var wide v1alpha1.ClusterEgressPolicyList
	if t.List(ctx, &wide, client.MatchingFields{caIndex: name}) == nil {
		for i := range wide.Items {
			out = append(out, t.ofPolicy(ctx, &wide.Items[i])...)
		}
	}
	return out
}

// ofNamespace are the targets of cluster-wide policies there: its labels may have changed.
func (t *targets) ofNamespace(ctx context.Context, ns *metav1.PartialObjectMetadata) []Target {
	var wide v1alpha1.ClusterEgressPolicyList
	if t.List(ctx, &wide) != nil || v1alpha1.IsSystemNamespace(ns.Name, t.Namespace) {
		return nil
	}
	out := make([]Target, 0, len(wide.Items))
	for i := range wide.Items {
		out = append(out, targetOf(selection.RefOf(&wide.Items[i]), ns.Name))
	}
	return out
}
