package admission

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/control"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

const ephemeral = "ephemeralcontainers"

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// drawUID is a user for one pod. The range is so large that two pods of a node hardly ever have the same.
func drawUID(rand io.Reader) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw a user: %w", err)
	}
	return inject.MinPodUID + int64(binary.BigEndian.Uint64(b[:])%uint64(inject.MaxPodUID-inject.MinPodUID+1)), nil
}

// mutatePod injects, or hardens new ephemeral containers.
func (s *server) mutatePod(ctx context.Context, request *podRequest) cradmission.Response {
	pod := request.Pod
	if request.SubResource == ephemeral {
		return s.mutateEphemeral(ctx, pod, request.Namespace)
	}
	chosen, err := s.choose(ctx, pod, request.Namespace)
	if err != nil {
		return failed(err)
	}
	if chosen == nil {
		return cradmission.Allowed("no policy selects the pod")
	}
	if chosen.in.UID, err = drawUID(s.rand); err != nil {
		return failed(err)
	}
	injected, errs := inject.Pod(pod, chosen.in)
	if len(errs) > 0 {
		return refused(chosen.in.Ref, errs)
	}
	return patched(inject.Patch(pod, injected), inject.InjectedSecrets(pod, chosen.in.Spec))
}

func refused(ref xds.PolicyRef, errs field.ErrorList) cradmission.Response {
	return cradmission.Denied(fmt.Sprintf("netproxy cannot hold this pod to %s: %v", ref, errs.ToAggregate()))
}

func (s *server) mutateEphemeral(ctx context.Context, pod *corev1.Pod, namespace string) cradmission.Response {
	if !inject.IsInjected(pod) {
		return cradmission.Allowed("the pod is under no policy")
	}
	in, err := s.carried(ctx, pod, namespace)
	if err != nil {
		return failed(err)
	}
	return patched(inject.PatchEphemeral(pod, inject.HardenEphemeral(pod, in)), nil)
}

// carried are the inputs of the policy that the pod was created with. If that is gone, what does not depend on it still counts.
func (s *server) carried(ctx context.Context, pod *corev1.Pod, namespace string) (inject.Inputs, error) {
	ref := control.Carried(pod.Labels, namespace)
	policy, err := control.Policy(ctx, s.reader, ref)
	if err != nil {
		return inject.Inputs{}, err
	}
	if policy == nil {
		return inject.Inputs{Ref: ref, Spec: &v1alpha1.EgressPolicySpec{}, Images: s.Images}, nil
	}
	return s.inputs(ctx, policy, namespace)
}

// validatePod is the last word, after every other webhook.
func (s *server) validatePod(ctx context.Context, request *podRequest) cradmission.Response {
	pod := request.Pod
	switch {
	case request.SubResource == ephemeral:
		return s.validateEphemeral(ctx, pod, request.Namespace)
	case request.Operation == admissionv1.Update:
		return s.validatePodUpdate(ctx, request)
	}
	chosen, err := s.choose(ctx, pod, request.Namespace)
	if err != nil {
		return failed(err)
	}
	if chosen == nil {
		return unselected(pod)
	}
	if inject.IsProbe(pod) {
		if err := s.mayProbe(ctx, request, chosen.in.Ref); err != nil {
			return failed(err)
		}
	}
	if errs := inject.Verify(pod, chosen.in); len(errs) > 0 {
		return refused(chosen.in.Ref, errs)
	}
	return cradmission.Allowed("")
}

// unselected pods may not read netproxy's Secrets either, nor carry its labels.
func unselected(pod *corev1.Pod) cradmission.Response {
	errs := inject.SecretReferences(pod, nil)
	if pod.Labels[v1alpha1.LabelPolicy] != "" {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "labels").Key(v1alpha1.LabelPolicy), "no policy selects the pod: remove the label, which netproxy sets itself"))
	}
	if len(errs) > 0 {
		return cradmission.Denied("netproxy: " + errs.ToAggregate().Error())
	}
	return cradmission.Allowed("no policy selects the pod")
}

func (s *server) validatePodUpdate(ctx context.Context, request *podRequest) cradmission.Response {
	pod, old := request.Pod, request.Old
	if inject.IsInjected(old) || inject.IsProbe(old) || inject.IsProbe(pod) {
		if errs := inject.VerifyUpdate(pod, old); len(errs) > 0 {
			return cradmission.Denied("netproxy: " + errs.ToAggregate().Error())
		}
		return cradmission.Allowed("")
	}
	return s.validateNewlySelected(ctx, pod, old, request.Namespace)
}

// validateNewlySelected refuses labels that bring a running pod under a policy: it has no proxy and cannot get one. A pod that
// was there before the policy may go on changing.
func (s *server) validateNewlySelected(ctx context.Context, pod, old *corev1.Pod, namespace string) cradmission.Response {
	if maps.Equal(pod.Labels, old.Labels) {
		return cradmission.Allowed("")
	}
	policies := func(p *corev1.Pod) (*choice, error) { return s.choose(ctx, p, namespace) }
	now, err := policies(pod)
	if err != nil {
		return failed(err)
	}
	before, err := policies(old)
	if err != nil {
		return failed(err)
	}
	if now != nil && before == nil && pod.DeletionTimestamp == nil {
		return cradmission.Denied(fmt.Sprintf("netproxy: with these labels %s would select the pod, which runs without a proxy: delete the pod and create it again with them", selection.RefOf(now.policy)))
	}
	if old.Labels[v1alpha1.LabelPolicy] != pod.Labels[v1alpha1.LabelPolicy] && pod.Labels[v1alpha1.LabelPolicy] != "" {
		return cradmission.Denied("netproxy: label " + v1alpha1.LabelPolicy + " is netproxy's own: remove it")
	}
	return cradmission.Allowed("")
}

func (s *server) validateEphemeral(ctx context.Context, pod *corev1.Pod, namespace string) cradmission.Response {
	if inject.IsProbe(pod) {
		return cradmission.Denied("netproxy: spec.ephemeralContainers: a probe runs netproxy's programs alone: look at it with kubectl logs")
	}
	if !inject.IsInjected(pod) {
		if errs := inject.SecretReferences(pod, nil); len(errs) > 0 {
			return cradmission.Denied("netproxy: " + errs.ToAggregate().Error())
		}
		return cradmission.Allowed("the pod is under no policy")
	}
	in, err := s.carried(ctx, pod, namespace)
	if err != nil {
		return failed(err)
	}
	if errs := inject.VerifyEphemeral(pod, in); len(errs) > 0 {
		return refused(in.Ref, errs)
	}
	return cradmission.Allowed("")
}
