package admission

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/netproxy/netproxy/webhook/inject"
)

func post(t testing.TB, handler http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func reviewText(t testing.TB, object, old runtime.Object) string {
	t.Helper()
	r := request(t, object, old)
	r.UID = "u1"
	text, err := json.Marshal(&admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &r.AdmissionRequest})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func answer(t *testing.T, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Response == nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" || got.Response.UID != "u1" {
		t.Errorf("not an answer to the review: %s %s %s", got.APIVersion, got.Kind, got.Response.UID)
	}
	return got.Response
}

func TestReviews(t *testing.T) {
	s := serve(t, policy("agent", 0))
	handlers := s.handlers()
	user := pod()
	got := answer(t, post(t, handlers[PathMutatePod], reviewText(t, user, nil)))
	if got.PatchType == nil || *got.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("no patch: %+v", got)
	}
	made := injected(t, s)
	if !answer(t, post(t, handlers[PathValidatePod], reviewText(t, made, nil))).Allowed {
		t.Error("what was injected is refused")
	}
	if !answer(t, post(t, handlers[PathValidatePod], reviewText(t, made, made))).Allowed {
		t.Error("an update of nothing is refused")
	}
	inject.ProxyOf(made).Image = "evil:1"
	got = answer(t, post(t, handlers[PathValidatePod], reviewText(t, made, nil)))
	if got.Allowed || got.Result.Code != http.StatusForbidden || !strings.Contains(got.Result.Message, "netproxy") {
		t.Errorf("an altered pod: %+v", got)
	}
	if !answer(t, post(t, handlers[PathValidatePolicy], reviewText(t, policy("agent", 0), nil))).Allowed {
		t.Error("a good policy is refused")
	}
}

// TestNoReview: an answer that is none is a failure for the API server, and the pod is not let in.
func TestNoReview(t *testing.T) {
	hook := serve(t).handlers()[PathValidatePod]
	good := reviewText(t, pod(), nil)
	if w := post(t, hook, good); w.Code != http.StatusOK {
		t.Fatalf("the good one: %d %s", w.Code, w.Body)
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "<html>", "a pod": `{"apiVersion":"v1","kind":"Pod"}`, "no request": `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"another version": strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v9", 1),
		"no object":       `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE"}}`,
		"a null object":   `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE","object":null}}`,
		"no old object":   strings.Replace(good, `"CREATE"`, `"UPDATE"`, 1),
		"a broken pod":    strings.Replace(good, `"containers":[`, `"containers":[3,`, 1),
		"too large":       good[:len(good)-1] + strings.Repeat(" ", maxReview) + "}",
	} {
		if w := post(t, hook, body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(good))
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	if hook.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("another type: %d", w.Code)
	}
}
