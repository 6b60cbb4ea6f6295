package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
)

const (
	own = "netproxy-system"
	ns  = "demo"
)

// serve is a server whose caches hold these objects, and the namespace of the tests.
func serve(t testing.TB, objects ...client.Object) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{"team": "a"}}}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, namespace)...).Build()
	return &server{Options{own, inject.Images{Init: "init:1", Proxy: "envoy:1", CLI: "cli:1"}}, reader, reader, reader, bytes.NewReader(make([]byte, 1024))}
}

// broken fails every read.
type broken struct{ client.Reader }

func (broken) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("the cache is on fire")
}

func (broken) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the cache is on fire")
}

func spec() v1alpha1.EgressPolicySpec {
	s := v1alpha1.EgressPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
		Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: []v1alpha1.Rule{
			{Name: "openai", Action: v1alpha1.ActionAllow, Hosts: []string{"api.openai.com"}},
		}},
		MITM: &v1alpha1.MITM{Domains: []string{"api.openai.com"}, HeaderMutations: []v1alpha1.HeaderMutation{{
			Domain: "api.openai.com", Headers: []v1alpha1.Header{{Name: "Authorization", SecretRef: &v1alpha1.SecretKeyRef{Name: "openai", Key: "key"}}},
		}}},
	}
	v1alpha1.SetDefaults(&s)
	return s
}

// policy is one of the namespace, created so many minutes after the first.
func policy(name string, minutes int) *v1alpha1.EgressPolicy {
	return &v1alpha1.EgressPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindEgressPolicy},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0).Add(time.Duration(minutes) * time.Minute)),
		},
		Spec: spec(),
	}
}

func widePolicy(name string, selector map[string]string) *v1alpha1.ClusterEgressPolicy {
	return &v1alpha1.ClusterEgressPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindClusterEgressPolicy},
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_800_000_000, 0))},
		Spec:       v1alpha1.ClusterEgressPolicySpec{NamespaceSelector: metav1.LabelSelector{MatchLabels: selector}, EgressPolicySpec: spec()},
	}
}

func rendered(kind, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: v1alpha1.SecretName(kind, name), Annotations: map[string]string{
		v1alpha1.AnnotationRevision: "r7", v1alpha1.AnnotationTrusted: "aa,bb",
	}}}
}

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "agent-1", Labels: map[string]string{"app": "agent"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "agent:1"}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func request(t testing.TB, object, old runtime.Object) cradmission.Request {
	t.Helper()
	encode := func(o runtime.Object) []byte {
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	r := cradmission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Namespace: ns, Object: runtime.RawExtension{Raw: encode(object)}}}
	if old != nil {
		r.Operation, r.OldObject = admissionv1.Update, runtime.RawExtension{Raw: encode(old)}
	}
	return r
}

// about is a request as it comes out of its review.
func about(pod, old *corev1.Pod) *podRequest {
	if old != nil {
		return &podRequest{Namespace: ns, Operation: admissionv1.Update, Pod: pod.DeepCopy(), Old: old.DeepCopy()}
	}
	return &podRequest{Namespace: ns, Operation: admissionv1.Create, Pod: pod.DeepCopy()}
}

// says fails unless the answer is a refusal with all of these words.
func says(t *testing.T, got cradmission.Response, words ...string) {
	t.Helper()
	if got.Allowed {
		t.Fatalf("allowed: %+v", got)
	}
	for _, word := range words {
		if !strings.Contains(got.Result.Message, word) {
			t.Errorf("the refusal does not say %q:\n%s", word, got.Result.Message)
		}
	}
}

func allowed(t *testing.T, got cradmission.Response) {
	t.Helper()
	if !got.Allowed {
		t.Fatalf("refused: %s", got.Result.Message)
	}
}

// apply is the pod after the answer's patch.
func apply(t testing.TB, before *corev1.Pod, got cradmission.Response) *corev1.Pod {
	t.Helper()
	if len(got.Patch) == 0 {
		t.Fatalf("no patch: %+v", got)
	}
	raw, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(got.Patch)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		t.Fatal(err)
	}
	var after corev1.Pod
	if err := json.Unmarshal(raw, &after); err != nil {
		t.Fatal(err)
	}
	return &after
}

// injected is a pod that went through the mutating webhook.
func injected(t testing.TB, s *server, change ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	p := pod(change...)
	return apply(t, p, s.mutatePod(t.Context(), about(p, nil)))
}
