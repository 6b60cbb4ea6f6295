package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/webhook/render"
	"github.com/netproxy/netproxy/webhook/selection"
)

// publish renders the target and writes its Secret. A failure that somebody has to mend is kept for the status, and the Secret stays
// as it is: pods keep their last good configuration.
func (t *targets) publish(ctx context.Context, policy v1alpha1.Policy, target Target) (reconcile.Result, error) {
	if left, ok := t.isSettled(ctx, policy, target); ok {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	t.board.unsettle(target)
	read := versions{}
	result, authority, stored, err := t.render(ctx, policy, target, read)
	if err != nil {
		return t.failed(target, err)
	}
	outcome := Outcome{
		Revision: result.Revision, ConfigRevision: result.ConfigRevision, SecretVersions: result.SecretVersions, Problems: result.Problems,
	}
	after := min(authority.lookAgain, untilRequested(policy, t.clock()))
	if leaf := result.Leaf; leaf != nil {
		outcome.LeafSerial, outcome.LeafNotAfter = leaf.Certificate().SerialNumber.Text(16), leaf.Certificate().NotAfter
		outcome.CANotAfter, outcome.Issuer = authority.ca.NotAfter(), mitm.Fingerprint(authority.ca.Root())
		after = min(after, max(time.Minute, leaf.RenewAt().Sub(t.clock())))
	}
	version, err := t.writeSecret(ctx, target, stored, wanted{result.Data, outcome, authority.fingerprints(), result.PrivateRanges})
	if err != nil {
		return t.failed(target, err)
	}
	read[secretAt(target.SecretKey())] = version
	t.settle(policy, target, authority, read, after)
	t.board.setOutcome(target, outcome)
	t.reportLeaf(policy, target, result)
	return reconcile.Result{RequeueAfter: after}, nil
}

// refusedAgain is when something that the API server does not take is tried again.
const refusedAgain = 15 * time.Second

// failed keeps for the status what somebody has to mend. What the API server refuses, because of a quota, an admission policy or its roles, is of
// that kind; other errors of it pass, and are only tried again.
func (t *targets) failed(target Target, err error) (reconcile.Result, error) {
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		t.board.setOutcome(target, Outcome{Failure: failure})
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		t.board.setOutcome(target, Outcome{Failure: &Failure{v1alpha1.ReasonRefused, "the API server refuses: " + err.Error()}})
		return reconcile.Result{RequeueAfter: refusedAgain}, nil
	}
	return reconcile.Result{}, err
}

// Error makes a Failure an error: one for the policy's owner, not worth trying again by itself.
func (f *Failure) Error() string { return f.Message }

// render also returns the stored Secret, nil if there is none, and notes what was read.
func (t *targets) render(ctx context.Context, policy v1alpha1.Policy, target Target, read versions) (result render.Result, a authority, stored *corev1.Secret, err error) {
	if _, errs := v1alpha1.ValidatePolicy(policy); len(errs) > 0 {
		return result, a, nil, &Failure{v1alpha1.ReasonInvalid, errs.ToAggregate().Error()}
	}
	if a, err = t.authority(ctx, policy, target.Namespace); err != nil {
		return result, a, nil, err
	}
	if stored, err = t.secret(ctx, target.SecretKey()); err != nil {
		return result, a, nil, err
	}
	request := render.Request{
		Ref: selection.RefOf(policy), Spec: policy.PolicySpec(), CA: a.ca, Trusted: a.trusted, Chains: a.chains,
		Families: t.Families, Now: t.clock(), Rand: t.rand, RotateLeaf: requested(policy, v1alpha1.AnnotationRotateLeaf),
	}
	if stored != nil {
		if stored.Labels[v1alpha1.LabelManaged] != "true" && !isOwned(stored) {
			return result, a, nil, &Failure{v1alpha1.ReasonSecretNotOurs, fmt.Sprintf("Secret %s exists and is not netproxy's: delete or rename it", target.SecretKey())}
		}
		request.Stored = stored.Data
	}
	if err := t.read(ctx, &request, target.Namespace, read); err != nil {
		return result, a, nil, err
	}
	problems, err := t.privateRanges(ctx, &request, stored, read)
	if err != nil {
		return result, a, nil, err
	}
	result, err = render.Secret(request)
	result.Problems = append(result.Problems, problems...)
	switch {
	case errors.Is(err, render.ErrTooLarge):
		err = &Failure{v1alpha1.ReasonTooLarge, err.Error()}
	case err != nil:
		err = &Failure{v1alpha1.ReasonInvalid, err.Error()}
	}
	return result, a, stored, err
}

// requested is the time in an annotation that asks for a rotation; admission refuses what is none.
func requested(policy v1alpha1.Policy, annotation string) time.Time {
	at, err := time.Parse(time.RFC3339, policy.GetAnnotations()[annotation])
	if err != nil {
		return time.Time{}
	}
	return at
}

// read gets what the policy refers to, from the API server itself: caches do not hold data.
func (t *targets) read(ctx context.Context, request *render.Request, namespace string, read versions) error {
	request.Secrets, request.ConfigMaps = render.Objects{}, render.Objects{}
	refs := render.Referenced(request.Spec)
	for _, name := range refs.Secrets {
		key := client.ObjectKey{Namespace: namespace, Name: name}
		secret, err := t.secret(ctx, key)
		if err != nil {
			return err
		}
		read[secretAt(key)] = absent
		if secret != nil {
			read[secretAt(key)] = secret.ResourceVersion
			request.Secrets[name] = secret.Data
			if secret.Data == nil {
				request.Secrets[name] = map[string][]byte{}
			}
		}
	}
	for _, name := range refs.ConfigMaps {
		var object corev1.ConfigMap
		key := client.ObjectKey{Namespace: namespace, Name: name}
		err := t.live.Get(ctx, key, &object)
		read[configMapAt(key)] = object.ResourceVersion
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read ConfigMap %s: %w", key, err)
		}
		request.ConfigMaps[name] = map[string][]byte{}
		for key, value := range object.Data {
			request.ConfigMaps[name][key] = []byte(value)
		}
	}
	return nil
}

// secret is nil, and no error, only for a Secret that the API server says does not exist.
func (t *targets) secret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := t.live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	}
	return &secret, nil
}

// wanted is what a target's Secret has to be.
type wanted struct {
	data    map[string][]byte
	outcome Outcome
	trusted []string
	private []netip.Prefix
}

// writeSecret applies the whole data, if it is not there already. It returns the Secret's version.
func (t *targets) writeSecret(ctx context.Context, target Target, have *corev1.Secret, want wanted) (version string, err error) {
	key := target.SecretKey()
	labels, annotations := want.meta(target)
	if have != nil && sameData(have.Data, want.data) && contains(have.Labels, labels) && contains(have.Annotations, annotations) {
		return have.ResourceVersion, nil
	}
	apply := corev1apply.Secret(key.Name, key.Namespace).WithType(corev1.SecretTypeOpaque).
		WithLabels(labels).WithAnnotations(annotations).WithData(want.data)
	if err := t.Apply(ctx, apply, FieldOwner, client.ForceOwnership); err != nil {
		return "", fmt.Errorf("write Secret %s: %w", key, err)
	}
	// It holds the answer of the API server now.
	if surplus(apply.Data, want.data) {
		return t.replaceData(ctx, key, want.data)
	}
	return *apply.ResourceVersion, nil
}

// isOwned recognises a Secret of ours that lost its labels.
func isOwned(secret *corev1.Secret) bool {
	for _, entry := range secret.ManagedFields {
		if entry.Manager == string(FieldOwner) {
			return true
		}
	}
	return false
}

// replaceData removes keys that somebody else added, which an apply leaves alone.
func (t *targets) replaceData(ctx context.Context, key client.ObjectKey, data map[string][]byte) (version string, err error) {
	patch, err := json.Marshal([]any{map[string]any{"op": "add", "path": "/data", "value": data}})
	if err != nil {
		return "", fmt.Errorf("encode Secret %s: %w", key, err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := t.Patch(ctx, secret, client.RawPatch(types.JSONPatchType, patch), FieldOwner); err != nil {
		return "", fmt.Errorf("remove foreign keys from Secret %s: %w", key, err)
	}
	return secret.ResourceVersion, nil
}

func (w wanted) meta(target Target) (labels, annotations map[string]string) {
	outcome := w.outcome
	labels = map[string]string{
		v1alpha1.LabelManaged: "true", v1alpha1.LabelPolicy: target.Policy, v1alpha1.LabelPolicyKind: target.Kind,
	}
	annotations = map[string]string{
		v1alpha1.AnnotationRevision: outcome.Revision, v1alpha1.AnnotationConfigRevision: outcome.ConfigRevision,
		v1alpha1.AnnotationPrivateRanges: joinRanges(w.private),
	}
	if outcome.Issuer != "" {
		annotations[v1alpha1.AnnotationIssuer] = outcome.Issuer
		annotations[v1alpha1.AnnotationTrusted] = strings.Join(w.trusted, ",")
		annotations[v1alpha1.AnnotationLeafNotAfter] = outcome.LeafNotAfter.UTC().Format(time.RFC3339)
		annotations[v1alpha1.AnnotationCANotAfter] = outcome.CANotAfter.UTC().Format(time.RFC3339)
	}
	return labels, annotations
}

func sameData(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

func surplus(have, want map[string][]byte) bool {
	for key := range have {
		if _, ok := want[key]; !ok {
			return true
		}
	}
	return false
}

// reportLeaf tells who looks at events about a new leaf.
func (t *targets) reportLeaf(policy v1alpha1.Policy, target Target, result render.Result) {
	if result.LeafAction.Action == mitm.Create {
		t.events.Eventf(policy, nil, corev1.EventTypeNormal, "LeafIssued", "Issue", "%s: new leaf, serial %x: %s",
			target.SecretKey(), result.Leaf.Certificate().SerialNumber, result.LeafAction.Message)
	}
}
