// Package admission answers the API server: it injects netproxy into pods, refuses pods and policies that could not be held, and
// marks namespaces.
package admission

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

// Paths of the handlers, as the webhook configurations name them.
const (
	PathMutatePod       = "/mutate-pod"
	PathValidatePod     = "/validate-pod"
	PathValidatePolicy  = "/validate-policy"
	PathMutateNamespace = "/mutate-namespace"
)

// Options set admission up.
type Options struct {
	// Namespace is netproxy's own.
	Namespace string
	Images    inject.Images
}

// server is what the handlers share. reader answers from caches, live is the API server itself.
type server struct {
	Options
	reader client.Reader
	live   client.Reader
	writer client.Writer
	rand   io.Reader
}

// Register adds the handlers.
func Register(hooks webhook.Server, cached, live client.Reader, writer client.Writer, options Options) {
	s := &server{options, cached, live, writer, rand.Reader}
	for path, handler := range s.handlers() {
		hooks.Register(path, handler)
	}
}

func (s *server) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		PathMutatePod: &podHook{handle: s.mutatePod}, PathValidatePod: &podHook{handle: s.validatePod},
		PathValidatePolicy:  &cradmission.Webhook{Handler: cradmission.HandlerFunc(s.validatePolicy)},
		PathMutateNamespace: &cradmission.Webhook{Handler: cradmission.HandlerFunc(s.mutateNamespace)},
	}
}

// choice is the policy of a pod with everything that its injection needs.
type choice struct {
	policy v1alpha1.Policy
	in     inject.Inputs
}

// choose is nil if no policy selects the pod.
func (s *server) choose(ctx context.Context, pod *corev1.Pod, namespace string) (*choice, error) {
	if inject.IsProbe(pod) {
		return s.bind(ctx, pod, namespace)
	}
	ns, err := s.namespace(ctx, namespace)
	if err != nil {
		return nil, err
	}
	matching, err := s.matching(ctx, ns, pod.Labels)
	if err != nil || len(matching) == 0 {
		return nil, err
	}
	in, err := s.inputs(ctx, matching[0], namespace)
	if err != nil {
		return nil, err
	}
	return &choice{matching[0], in}, nil
}

func (s *server) namespace(ctx context.Context, name string) (selection.Namespace, error) {
	ns := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := s.reader.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
		return selection.Namespace{}, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return selection.Namespace{Name: name, Labels: ns.Labels}, nil
}

func (s *server) inputs(ctx context.Context, policy v1alpha1.Policy, namespace string) (inject.Inputs, error) {
	spec := policy.PolicySpec()
	in := inject.Inputs{Ref: selection.RefOf(policy), Spec: spec, Images: s.Images}
	var err error
	if in.Resources, err = s.resources(ctx, spec); err != nil {
		return in, err
	}
	secret := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	err = s.reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.SecretName(in.Ref.Kind, in.Ref.Name)}, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return in, fmt.Errorf("read the policy's Secret: %w", err)
	}
	in.Revision, in.TrustedCAs = secret.Annotations[v1alpha1.AnnotationRevision], split(secret.Annotations[v1alpha1.AnnotationTrusted])
	return in, nil
}

// resources merges the policy's over the cluster's defaults over the built-in ones.
func (s *server) resources(ctx context.Context, spec *v1alpha1.EgressPolicySpec) (v1alpha1.Resources, error) {
	base := v1alpha1.DefaultResources(spec)
	var defaults corev1.ConfigMap
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: v1alpha1.DefaultsConfigMap}, &defaults)
	if err != nil && !apierrors.IsNotFound(err) {
		return base, fmt.Errorf("read the default resources: %w", err)
	}
	set, err := decode.Resources(defaults.Data[v1alpha1.DefaultsResourcesKey])
	if err != nil {
		return base, fmt.Errorf("ConfigMap %s/%s: %w", s.Namespace, v1alpha1.DefaultsConfigMap, err)
	}
	base = set.Over(base)
	return spec.Proxy.Resources.Over(base), nil
}

// decodeObject reads the request's object.
func decodeObject[T any](raw []byte) (*T, error) {
	var object T
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("decode the object: %w", err)
	}
	return &object, nil
}

// refusal is an error that is the user's to mend.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func failed(err error) cradmission.Response {
	if _, ok := errors.AsType[refusal](err); ok {
		return cradmission.Denied("netproxy: " + err.Error())
	}
	return cradmission.Errored(http.StatusInternalServerError, fmt.Errorf("netproxy: %w", err))
}

// patched answers with a patch that is made already: the library would compare whole objects, and lose fields that the types here do not have.
func patched(ops []inject.Operation, warnings []string) cradmission.Response {
	response := cradmission.Allowed("")
	response.Warnings = warnings
	if len(ops) == 0 {
		return response
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return failed(err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	response.Patch, response.PatchType = patch, &kind
	return response
}
