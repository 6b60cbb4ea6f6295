package inject

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// A probe pod attacks the configuration of a policy over the real injection path, in the place of a pod of the policy's. What
// makes it harmless: it runs netproxy's own programs alone, and it ends.
const (
	// ProbeContainer is the only container of a probe pod besides the injected ones.
	ProbeContainer = "probe"
	// ProbeLabMount is where it finds the Secret of v1alpha1.ProbeLabSecretName.
	ProbeLabMount = "/netproxy/lab"
	// ProbeSeconds is how long a probe pod may run.
	ProbeSeconds int64 = 900

	probeLabelled = "true"
	// probePlaceholder is replaced by the webhook. Where none is asked, the pod does not start.
	probePlaceholder = "netproxy.invalid/put-in-by-the-webhook"
)

// ProbePod is what to submit for a probe of the policy. The webhook puts everything else into it.
func ProbePod(name, namespace string, ref xds.PolicyRef) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, Labels: map[string]string{v1alpha1.LabelProbe: probeLabelled},
			Annotations: map[string]string{v1alpha1.AnnotationProbe: ref.Kind + "/" + ref.Name},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(ProbeSeconds), TerminationGracePeriodSeconds: new(int64(1)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Containers: []corev1.Container{{Name: ProbeContainer, Image: probePlaceholder}},
		},
	}
}

// IsProbe says whether the pod asks to be a probe. The annotation cannot be added to a pod that exists.
func IsProbe(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[v1alpha1.AnnotationProbe]
	return ok
}

// BoundTo is the policy that a probe names.
func BoundTo(pod *corev1.Pod, namespace string) (xds.PolicyRef, *field.Error) {
	value := pod.Annotations[v1alpha1.AnnotationProbe]
	kind, name, _ := strings.Cut(value, "/")
	switch {
	case name == "":
	case kind == v1alpha1.KindEgressPolicy:
		return xds.PolicyRef{Kind: kind, Namespace: namespace, Name: name}, nil
	case kind == v1alpha1.KindClusterEgressPolicy:
		return xds.PolicyRef{Kind: kind, Name: name}, nil
	}
	return xds.PolicyRef{}, field.Invalid(probeField(), value,
		"names no policy: write "+v1alpha1.KindEgressPolicy+"/NAME or "+v1alpha1.KindClusterEgressPolicy+"/NAME")
}

// CountsAsProbe says whether a pod that runs is none of the application's. Where the webhook is not asked anybody can write the
// annotation: a pod that hides behind it, so that it is not counted as unprotected, ends by itself soon.
func CountsAsProbe(pod *corev1.Pod) bool {
	s := pod.Spec.ActiveDeadlineSeconds
	return IsProbe(pod) && ProxyOf(pod) != nil && s != nil && *s <= ProbeSeconds
}

func probeField() *field.Path {
	return field.NewPath("metadata", "annotations").Key(v1alpha1.AnnotationProbe)
}

// probeContainer needs a network namespace of its own inside of the pod, which is the Internet of the attacks (SYS_ADMIN to make
// it, NET_ADMIN to join both, NET_BIND_SERVICE for its DNS server), and attacks that write raw packets (NET_RAW). In a container that ran anything else these would undo
// the packet filter.
func probeContainer(in *Inputs) corev1.Container {
	c := container(ProbeContainer, in.Images.CLI, in.Images.pullPolicy())
	c.Args = []string{"probe"}
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("256Mi")},
	}
	c.SecurityContext = confined()
	c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN"}
	c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup, c.SecurityContext.RunAsNonRoot = new(int64(0)), new(int64(0)), new(false)
	c.VolumeMounts = []corev1.VolumeMount{
		{Name: volumeLab, MountPath: ProbeLabMount, ReadOnly: true},
		{Name: volumeTemp, MountPath: "/tmp"},
	}
	return c
}

// verifyProbeUpdate keeps pods from becoming probes, and probes from becoming anything else. A probe's labels are those for which its
// creator was authorised.
func verifyProbeUpdate(pod, old *corev1.Pod) field.ErrorList {
	if !IsProbe(old) && !IsProbe(pod) {
		return nil
	}
	var errs field.ErrorList
	if was, is := old.Annotations[v1alpha1.AnnotationProbe], pod.Annotations[v1alpha1.AnnotationProbe]; IsProbe(old) != IsProbe(pod) || was != is {
		errs = append(errs, field.Forbidden(probeField(), "a pod is a probe from its creation on or never; delete the pod and create it again"))
	}
	if !IsProbe(old) {
		return errs
	}
	if !maps.Equal(old.Labels, pod.Labels) {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "labels"), "of a probe cannot be changed; delete the pod and create it again"))
	}
	return append(errs, unchanged(old.Spec.Containers, pod.Spec.Containers, func(string) bool { return true }, field.NewPath("spec", "containers"))...)
}

// refuseProbe lists what a probe must not bring along, or that a pod wants to be one and is not injected as one.
func refuseProbe(pod *corev1.Pod, in *Inputs) field.ErrorList {
	if in.Probe == "" {
		if IsProbe(pod) {
			return field.ErrorList{field.Forbidden(probeField(), "makes the pod a probe, which the webhook alone injects; remove the annotation")}
		}
		return nil
	}
	return append(refuseProbeMeta(pod, in), refuseProbeSpec(&pod.Spec, field.NewPath("spec"))...)
}

func refuseProbeMeta(pod *corev1.Pod, in *Inputs) field.ErrorList {
	var errs field.ErrorList
	if ref, err := BoundTo(pod, in.Ref.Namespace); err != nil {
		errs = append(errs, err)
	} else if ref != in.Ref {
		errs = append(errs, field.Invalid(probeField(), pod.Annotations[v1alpha1.AnnotationProbe], fmt.Sprintf("is not %s, to which the pod is bound", in.Ref)))
	}
	// The name is that of a Secret that the proxy mounts.
	if pod.Name != in.Probe || !strings.HasPrefix(pod.Name, v1alpha1.ProbePrefix) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), pod.Name, "the name of a probe begins with "+v1alpha1.ProbePrefix+"; choose another"))
	}
	// A controller creates pods with its own rights for people who have fewer.
	if len(pod.OwnerReferences) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "ownerReferences"), "a probe is created by somebody who may update the policy, never by a controller; create the pod itself"))
	}
	return errs
}

func refuseProbeSpec(spec *corev1.PodSpec, root *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.RestartPolicy != corev1.RestartPolicyNever {
		errs = append(errs, field.Invalid(root.Child("restartPolicy"), spec.RestartPolicy, "a probe runs once; write Never"))
	}
	if s := spec.ActiveDeadlineSeconds; s == nil || *s > ProbeSeconds {
		errs = append(errs, field.Required(root.Child("activeDeadlineSeconds"), fmt.Sprintf("a probe ends by itself; write %d or less", ProbeSeconds)))
	}
	for i := range spec.InitContainers {
		errs = append(errs, field.Forbidden(root.Child("initContainers").Index(i), "a probe runs netproxy's programs alone; remove the container"))
	}
	for i := range spec.Volumes {
		errs = append(errs, field.Forbidden(root.Child("volumes").Index(i), "a probe has netproxy's volumes alone; remove it (a token's by automountServiceAccountToken: false)"))
	}
	return errs
}
