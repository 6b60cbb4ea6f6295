package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/selection"
)

// podsLinger is how often pods of a policy that goes away are looked for.
const podsLinger = 5 * time.Second

func alive(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func anyAlive(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return alive(&p) })
}

// terminate keeps a deleted policy's Secret, with its certificates renewed, until no pod mounts it.
func (t *targets) terminate(ctx context.Context, policy v1alpha1.Policy, target Target) (reconcile.Result, error) {
	if t.board.isReleased(target.Ref(), policy.GetUID()) {
		return reconcile.Result{}, nil
	}
	pods, err := t.podsOf(ctx, target.Ref(), target.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if anyAlive(pods) {
		if _, err := t.publish(ctx, policy, target); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{RequeueAfter: podsLinger}, nil
	}
	if err := t.deleteManaged(ctx, target.SecretKey()); err != nil {
		return reconcile.Result{}, err
	}
	t.board.forgetTarget(target)
	return t.release(ctx, policy)
}

// release lets the policy go when its last Secret is gone.
func (t *targets) release(ctx context.Context, policy v1alpha1.Policy) (reconcile.Result, error) {
	ref := selection.RefOf(policy)
	defer t.locks.lock(ref)()
	list := metadataList("Secret")
	err := t.live.List(ctx, list, client.InNamespace(ref.Namespace), client.MatchingLabels{v1alpha1.LabelPolicy: ref.Name, v1alpha1.LabelPolicyKind: ref.Kind})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("list Secrets of %s: %w", ref, err)
	}
	if slices.ContainsFunc(list.Items, func(s metav1.PartialObjectMetadata) bool { return v1alpha1.IsSecretName(s.Name) }) {
		return reconcile.Result{RequeueAfter: podsLinger}, nil
	}
	if err := t.removeAuthority(ctx, ref); err != nil {
		return reconcile.Result{}, err
	}
	if !controllerutil.ContainsFinalizer(policy, v1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	changed := policy.DeepCopyObject().(v1alpha1.Policy)
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	if err := t.Patch(ctx, changed, client.MergeFrom(policy)); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("remove the finalizer from %s: %w", ref, err)
	}
	t.board.release(ref, policy.GetUID())
	return reconcile.Result{}, nil
}

// withdraw removes the Secret of a target that is not wanted, once no pod mounts it.
func (t *targets) withdraw(ctx context.Context, target Target) (reconcile.Result, error) {
	pods, err := t.podsOf(ctx, target.Ref(), target.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if anyAlive(pods) {
		return reconcile.Result{RequeueAfter: podsLinger}, nil
	}
	t.board.forgetTarget(target)
	return reconcile.Result{}, t.deleteManaged(ctx, target.SecretKey())
}

// deleteManaged deletes a Secret of netproxy's. One that only has its name is somebody else's.
func (t *targets) deleteManaged(ctx context.Context, key client.ObjectKey) error {
	known := metadata("Secret")
	if err := t.Get(ctx, key, known); err != nil {
		return client.IgnoreNotFound(err)
	}
	if known.Labels[v1alpha1.LabelManaged] != "true" {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := t.Delete(ctx, secret); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %s: %w", key, err)
	}
	return nil
}
