package control

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Most events are echoes: a status that was written, a Secret that was applied. What a target was made of is remembered by version, and as
// long as the caches show the same versions, the target is right without asking the API server again. A cache that lags behind shows
// other versions, and costs one look too many; one that shows these has nothing newer to tell yet.

// origin names an object that a target is made of.
type origin struct {
	kind string // Secret, ConfigMap, or defaults
	types.NamespacedName
}

func secretAt(key types.NamespacedName) origin    { return origin{"Secret", key} }
func configMapAt(key types.NamespacedName) origin { return origin{"ConfigMap", key} }

// defaultsAt is the ConfigMap that is cached whole. One cache has to give both its content and its version: two of them are never at
// the same moment.
func defaultsAt(own string) origin {
	return origin{defaultsKind, types.NamespacedName{Namespace: own, Name: v1alpha1.DefaultsConfigMap}}
}

const defaultsKind = "defaults"

// object is what the origin is read into.
func (o origin) object() client.Object {
	if o.kind == defaultsKind {
		return &corev1.ConfigMap{}
	}
	return metadata(o.kind)
}

// versions are the resource versions of what was read and written, absent if there was nothing.
type versions map[origin]string

const absent = ""

// settled is a target that is as it has to be.
type settled struct {
	policy   policyVersion
	versions versions
	// due is when it has to be looked at nevertheless.
	due time.Time
}

// policyVersion changes with everything of a policy that its targets depend on.
type policyVersion struct {
	uid                  types.UID
	generation           int64
	deleted              bool
	rotateLeaf, rotateCA string
}

func versionOf(policy v1alpha1.Policy) policyVersion {
	return policyVersion{
		policy.GetUID(), policy.GetGeneration(), policy.GetDeletionTimestamp() != nil,
		policy.GetAnnotations()[v1alpha1.AnnotationRotateLeaf], policy.GetAnnotations()[v1alpha1.AnnotationRotateCA],
	}
}

// settle remembers a target that needs no look for some time. While a CA rotates, every event may be the one that it waits for.
func (t *targets) settle(policy v1alpha1.Policy, target Target, authority authority, read versions, after time.Duration) {
	if authority.lookAgain < lookAgain {
		t.board.unsettle(target)
		return
	}
	all := maps.Clone(authority.versions)
	maps.Copy(all, read)
	t.board.settle(target, settled{versionOf(policy), all, t.clock().Add(after)})
}

// isSettled says how long the target needs no look.
func (t *targets) isSettled(ctx context.Context, policy v1alpha1.Policy, target Target) (time.Duration, bool) {
	s, known := t.board.settled(target)
	left := s.due.Sub(t.clock())
	if !known || left <= 0 || s.policy != versionOf(policy) {
		return 0, false
	}
	for at, version := range s.versions {
		object := at.object()
		if err := t.Get(ctx, at.NamespacedName, object); client.IgnoreNotFound(err) != nil || object.GetResourceVersion() != version {
			return 0, false
		}
	}
	return left, true
}

// untilRequested is how long it is until a rotation that was asked for in advance; lookAgain if there is none.
func untilRequested(policy v1alpha1.Policy, now time.Time) time.Duration {
	after := lookAgain
	for _, annotation := range []string{v1alpha1.AnnotationRotateLeaf, v1alpha1.AnnotationRotateCA} {
		if at := requested(policy, annotation); at.After(now) {
			after = min(after, at.Sub(now))
		}
	}
	return after
}
