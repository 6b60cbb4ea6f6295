package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// maxReview is more than the API server takes for an object, twice: an update has the old one too. In bytes.
const maxReview = 7 << 20

// podReview is an AdmissionReview about a pod, whose pods are read with it. The library would go through the text of a pod four times
// before it hands it on as text.
type podReview struct {
	metav1.TypeMeta
	Request *podRequest `json:"request"`
}

// podRequest are the parts of a request that count.
type podRequest struct {
	UID         types.UID                 `json:"uid"`
	SubResource string                    `json:"subResource"`
	Namespace   string                    `json:"namespace"`
	Operation   admissionv1.Operation     `json:"operation"`
	User        authenticationv1.UserInfo `json:"userInfo"`
	Pod         *corev1.Pod               `json:"object"`
	Old         *corev1.Pod               `json:"oldObject"`
}

// podHook answers for pods.
type podHook struct {
	handle  func(context.Context, *podRequest) cradmission.Response
	buffers sync.Pool // of *bytes.Buffer
}

func (h *podHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, err := h.read(r)
	if err != nil {
		http.Error(w, "netproxy: "+err.Error(), http.StatusBadRequest)
		return
	}
	response := h.handle(r.Context(), request)
	// It fills in what every answer has, and cannot fail without patches of the library's own.
	_ = response.Complete(cradmission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: request.UID}})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&admissionv1.AdmissionReview{ // the API server has gone if it cannot be written
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: &response.AdmissionResponse,
	})
}

func (h *podHook) read(r *http.Request) (*podRequest, error) {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		return nil, fmt.Errorf("Content-Type %q: send application/json", kind)
	}
	buffer, ok := h.buffers.Get().(*bytes.Buffer)
	if !ok {
		buffer = &bytes.Buffer{}
	}
	defer h.buffers.Put(buffer) // strings are copied out of it
	buffer.Reset()
	if n, err := io.Copy(buffer, io.LimitReader(r.Body, maxReview+1)); err != nil || n > maxReview {
		return nil, fmt.Errorf("read the review, of %d bytes or more, at most %d: %w", n, maxReview, err)
	}
	var review podReview
	if err := json.Unmarshal(buffer.Bytes(), &review); err != nil {
		return nil, fmt.Errorf("decode the review: %w", err)
	}
	return review.check()
}

func (p *podReview) check() (*podRequest, error) {
	switch {
	case p.APIVersion != admissionv1.SchemeGroupVersion.String() || p.Kind != "AdmissionReview":
		return nil, fmt.Errorf("%s %s: send an AdmissionReview of %s", p.APIVersion, p.Kind, admissionv1.SchemeGroupVersion)
	case p.Request == nil || p.Request.Pod == nil:
		return nil, errors.New("the review has no object")
	case p.Request.Operation == admissionv1.Update && p.Request.Old == nil:
		return nil, errors.New("the review of an update has no old object")
	}
	return p.Request, nil
}
