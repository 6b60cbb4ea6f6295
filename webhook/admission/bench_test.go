package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// shared answers like the caches do: at once, and without copies.
type shared struct{ objects []client.Object }

func (s shared) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	for _, o := range s.objects {
		if client.ObjectKeyFromObject(o) == key && reflect.TypeOf(o) == reflect.TypeOf(into) {
			reflect.ValueOf(into).Elem().Set(reflect.ValueOf(o).Elem())
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s shared) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.EgressPolicyList); ok {
		for _, o := range s.objects {
			if p, ok := o.(*v1alpha1.EgressPolicy); ok {
				list.Items = append(list.Items, *p)
			}
		}
	}
	return nil
}

// BenchmarkAdmission measures whole requests, without TLS, beside a webhook that allows everything.
func BenchmarkAdmission(b *testing.B) {
	s := serve(b)
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	secret := &metav1.PartialObjectMetadata{ObjectMeta: rendered(v1alpha1.KindEgressPolicy, "agent").ObjectMeta}
	s.live = broken{}
	s.reader = shared{[]client.Object{policy("agent", 0), namespace, secret}}
	user := pod(func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "exporter", Image: "exporter:1"})
		p.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "agent:1"}}
	})
	s.rand = zeros{}
	made := apply(b, user, s.mutatePod(b.Context(), about(user, nil)))
	nothing := cradmission.HandlerFunc(func(context.Context, cradmission.Request) cradmission.Response { return cradmission.Allowed("") })
	for _, bb := range []struct {
		name    string
		handler http.Handler
		request cradmission.Request
	}{
		{"inject", s.handlers()[PathMutatePod], request(b, user, nil)},
		{"inject-nothing", &cradmission.Webhook{Handler: nothing}, request(b, user, nil)},
		{"verify", s.handlers()[PathValidatePod], request(b, made, nil)},
		{"verify-nothing", &cradmission.Webhook{Handler: nothing}, request(b, made, nil)},
		{"update", s.handlers()[PathValidatePod], request(b, made, made)},
		{"update-nothing", &cradmission.Webhook{Handler: nothing}, request(b, made, made)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			review := &admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &bb.request.AdmissionRequest}
			body, err := json.Marshal(review)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				bb.handler.ServeHTTP(w, r)
				if !bytes.Contains(w.Body.Bytes(), []byte(`"allowed":true`)) {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) { return len(into), nil }
