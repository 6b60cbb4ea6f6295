package control

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// authority is what signs for a policy. Without interception it is empty.
type authority struct {
	ca              *mitm.CA
	trusted, chains []*x509.Certificate
	lookAgain       time.Duration
	versions        versions
}

func (a authority) fingerprints() []string {
	var out []string
	for _, c := range a.trusted {
		out = append(out, mitm.Fingerprint(c))
	}
	return out
}

// authority finds the policy's CA, makes it if the API server says that there is none, and moves its rotation on.
func (t *targets) authority(ctx context.Context, policy v1alpha1.Policy, namespace string) (authority, error) {
	spec, ref := policy.PolicySpec(), selection.RefOf(policy)
	none := versions{secretAt(caKey(t.Namespace, ref)): absent}
	switch {
	case spec.MITM == nil:
		return authority{lookAgain: lookAgain, versions: none}, t.removeAuthority(ctx, ref)
	case spec.MITM.CASecretRef != nil:
		a, err := t.userAuthority(ctx, spec.MITM.CASecretRef.Name, namespace)
		if err != nil {
			return a, err
		}
		maps.Copy(a.versions, none)
		return a, t.removeAuthority(ctx, ref)
	}
	return t.ownAuthority(ctx, policy)
}

// userAuthority reads a CA of the user's in netproxy's own namespace. It is never written.
func (t *targets) userAuthority(ctx context.Context, name, namespace string) (authority, error) {
	key := client.ObjectKey{Namespace: t.Namespace, Name: name}
	var secret corev1.Secret
	err := t.live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return authority{}, &Failure{v1alpha1.ReasonCAMissing, fmt.Sprintf("spec.mitm.caSecretRef: Secret %s does not exist: create it, or remove caSecretRef", key)}
	}
	if err != nil {
		return authority{}, fmt.Errorf("read CA %s: %w", key, err)
	}
	if !allows(secret.Annotations[v1alpha1.AnnotationAllowedNamespaces], namespace) {
		return authority{}, &Failure{v1alpha1.ReasonCANotAllowed, fmt.Sprintf(
			"spec.mitm.caSecretRef: Secret %s may not be used by namespace %s: add it to the Secret's annotation %s", key, namespace, v1alpha1.AnnotationAllowedNamespaces)}
	}
	ca, err := mitm.Parse(secret.Data[v1alpha1.CACertKey], secret.Data[v1alpha1.CAKeyKey], t.clock())
	if err != nil {
		return authority{}, &Failure{v1alpha1.ReasonCAUnreadable, fmt.Sprintf("spec.mitm.caSecretRef: Secret %s: %v", key, err)}
	}
	return authority{
		ca: ca, trusted: []*x509.Certificate{ca.Root()}, chains: ca.Chain(), lookAgain: lookAgain, versions: versions{secretAt(key): secret.ResourceVersion},
	}, nil
}

func allows(list, namespace string) bool {
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "*" || entry == namespace {
			return true
		}
	}
	return false
}

func caKey(own string, ref xds.PolicyRef) client.ObjectKey {
	return client.ObjectKey{Namespace: own, Name: v1alpha1.CASecretName(ref.Namespace, ref.Name)}
}

// ownAuthority keeps the generated CA. Only a definite "not found" of the API server makes a new one, and creating it fails if another
// replica was faster: an error is never taken for absence.
func (t *targets) ownAuthority(ctx context.Context, policy v1alpha1.Policy) (authority, error) {
	ref := selection.RefOf(policy)
	defer t.locks.lock(ref)()
	key := caKey(t.Namespace, ref)
	var secret corev1.Secret
	err := t.live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return t.createAuthority(ctx, policy, key)
	}
	if err != nil {
		return authority{}, fmt.Errorf("read CA %s: %w", key, err)
	}
	state, err := mitm.ParseRotation(secret.Data)
	if err != nil {
		return authority{}, &Failure{v1alpha1.ReasonCAUnreadable, fmt.Sprintf(
			"Secret %s: %v: restore it; or delete it to get a new CA, and restart the pods, which do not trust that one", key, err)}
	}
	state, err = t.rotate(ctx, policy, &secret, state)
	if err != nil {
		return authority{}, err
	}
	return newAuthority(state, &secret), nil
}

func newAuthority(state mitm.Rotation, stored *corev1.Secret) authority {
	a := authority{
		ca: state.Current, trusted: state.Trusted(), chains: state.Chains(), lookAgain: lookAgain,
		versions: versions{secretAt(client.ObjectKeyFromObject(stored)): stored.ResourceVersion},
	}
	if state.Previous != nil || state.NextPublished.IsZero() {
		a.lookAgain = time.Minute // a rotation is under way
	}
	return a
}

func (t *targets) createAuthority(ctx context.Context, policy v1alpha1.Policy, key client.ObjectKey) (authority, error) {
	ref := selection.RefOf(policy)
	state, err := mitm.NewRotation(t.rand, t.clock(), caName(ref))
	if err != nil {
		return authority{}, err
	}
	data, err := state.RevealData()
	if err != nil {
		return authority{}, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{
			v1alpha1.LabelManaged: "true", v1alpha1.LabelPolicy: ref.Name, v1alpha1.LabelPolicyKind: ref.Kind,
		}},
		Type: corev1.SecretTypeTLS, Data: data,
	}
	if err := t.Create(ctx, secret, FieldOwner); err != nil {
		return authority{}, fmt.Errorf("store the new CA %s: %w", key, err)
	}
	t.events.Eventf(policy, nil, corev1.EventTypeNormal, "CACreated", "Create", "new CA, serial %x", state.Current.Certificate().SerialNumber)
	return newAuthority(state, secret), nil
}

func caName(ref xds.PolicyRef) string { return strings.TrimPrefix(ref.Namespace+"/"+ref.Name, "/") }

// rotate does the steps that are due, each stored before the next.
func (t *targets) rotate(ctx context.Context, policy v1alpha1.Policy, secret *corev1.Secret, state mitm.Rotation) (mitm.Rotation, error) {
	for {
		facts, err := t.facts(ctx, policy, state)
		if err != nil {
			return state, err
		}
		step := state.NextStep(facts)
		if step == mitm.StepNone || step == mitm.StepWait {
			return state, nil
		}
		if state, err = state.Apply(step, facts, t.rand, caName(selection.RefOf(policy))); err != nil {
			return state, err
		}
		if secret.Data, err = state.RevealData(); err != nil {
			return state, err
		}
		// The version that was read goes along: of two writers one fails.
		if err := t.Update(ctx, secret, FieldOwner); err != nil {
			return state, fmt.Errorf("store step %s of the CA's rotation: %w", step, err)
		}
		t.events.Eventf(policy, nil, corev1.EventTypeNormal, "CARotation", string(step), "CA in use: serial %x", state.Current.Certificate().SerialNumber)
	}
}

// facts count what a step depends on.
func (t *targets) facts(ctx context.Context, policy v1alpha1.Policy, state mitm.Rotation) (mitm.Facts, error) {
	ref := selection.RefOf(policy)
	facts := mitm.Facts{Now: t.clock(), Requested: requested(policy, v1alpha1.AnnotationRotateCA)}
	secrets, err := t.secretsOf(ctx, ref)
	if err != nil {
		return facts, err
	}
	pods, err := t.podsOf(ctx, ref, "")
	if err != nil {
		return facts, err
	}
	for i := range secrets {
		if state.Next != nil && !trusts(secrets[i].Annotations, mitm.Fingerprint(state.Next.Root())) {
			facts.BundlesWithoutNext++
		}
		if state.Previous != nil && secrets[i].Annotations[v1alpha1.AnnotationIssuer] == mitm.Fingerprint(state.Previous) {
			facts.LeavesOfPrevious++
		}
	}
	for i := range pods {
		if state.Next != nil && alive(&pods[i]) && !trusts(pods[i].Annotations, mitm.Fingerprint(state.Next.Root())) {
			facts.PodsWithoutNext++
		}
	}
	return facts, nil
}

// trusts says whether a Secret or pod with the annotations holds the CA of the fingerprint.
func trusts(annotations map[string]string, fingerprint string) bool {
	return slices.Contains(strings.Split(annotations[v1alpha1.AnnotationTrusted], ","), fingerprint)
}

// removeAuthority deletes a generated CA that signs nothing any more: a key that is not needed is only a risk.
func (t *targets) removeAuthority(ctx context.Context, ref xds.PolicyRef) error {
	return t.deleteManaged(ctx, caKey(t.Namespace, ref))
}
