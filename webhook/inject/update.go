package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// VerifyUpdate judges a change of a pod that exists: the policy that it was created with, and what was injected, stay. The
// images in force may be older than those of Inputs, so that the pod is compared with itself.
func VerifyUpdate(pod, old *corev1.Pod) field.ErrorList {
	errs := verifyProbeUpdate(pod, old)
	for _, label := range []string{v1alpha1.LabelPolicy, v1alpha1.LabelPolicyKind} {
		if pod.Labels[label] != old.Labels[label] {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "labels").Key(label), pod.Labels[label],
				"the policy of a pod is fixed when the pod is created; delete the pod and create it again"))
		}
	}
	errs = append(errs, unchanged(old.Spec.InitContainers, pod.Spec.InitContainers, IsReserved, field.NewPath("spec", "initContainers"))...)
	if !apiequality.Semantic.DeepEqual(old.Spec.SecurityContext, pod.Spec.SecurityContext) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "securityContext"), "cannot be changed in a protected pod; delete the pod and create it again"))
	}
	return errs
}

// unchanged wants those containers that are fixed to be the same.
func unchanged(old, now []corev1.Container, fixed func(name string) bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range old {
		was := &old[i]
		if !fixed(was.Name) {
			continue
		}
		k := slices.IndexFunc(now, func(c corev1.Container) bool { return c.Name == was.Name })
		if k < 0 {
			errs = append(errs, field.Required(at.Key(was.Name), "a container of netproxy's cannot be removed"))
			continue
		}
		for _, part := range differences(was, &now[k]) {
			errs = append(errs, field.Forbidden(at.Key(was.Name).Child(part), "a container of netproxy's cannot be changed; delete the pod and create it again"))
		}
	}
	return errs
}

// HardenEphemeral takes from new ephemeral containers what would undo the capture.
func HardenEphemeral(pod *corev1.Pod, in Inputs) *corev1.Pod {
	out := pod.DeepCopy()
	for i := range out.Spec.EphemeralContainers {
		c := corev1.Container(out.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		if c.SecurityContext != nil && c.SecurityContext.AllowPrivilegeEscalation != nil && *c.SecurityContext.AllowPrivilegeEscalation {
			continue // asked for: refused, not changed
		}
		harden(&c, &in)
		out.Spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	return out
}

// VerifyEphemeral judges the ephemeral containers of a protected pod.
func VerifyEphemeral(pod *corev1.Pod, in Inputs) field.ErrorList {
	if errs := in.takeUID(pod); errs != nil {
		return errs
	}
	var errs field.ErrorList
	for i := range pod.Spec.EphemeralContainers {
		e := &pod.Spec.EphemeralContainers[i]
		at := field.NewPath("spec", "ephemeralContainers").Index(i)
		c := corev1.Container(e.EphemeralContainerCommon)
		errs = append(errs, refuseContainer(&c, &in, at)...)
		if IsReserved(e.TargetContainerName) {
			errs = append(errs, field.Invalid(at.Child("targetContainerName"), e.TargetContainerName, "would show the proxy's memory and files; name a container of the application"))
		}
		hardened := *c.DeepCopy()
		harden(&hardened, &in)
		if !apiequality.Semantic.DeepEqual(hardened.SecurityContext, c.SecurityContext) {
			errs = append(errs, field.Forbidden(at.Child("securityContext"),
				"has to forbid privilege escalation and to drop NET_ADMIN, NET_RAW, SETUID and SETGID, which netproxy's webhook does: another webhook changed it"))
		}
	}
	return append(errs, SecretReferences(pod, volumeNames())...)
}
