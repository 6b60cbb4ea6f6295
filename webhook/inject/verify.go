package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// tokenMount is where the API server's own admission mounts a token into every container, netproxy's included.
const tokenMount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Verify says what is missing or was changed in a pod that has gone through every other webhook. The policy decides, not what the
// pod says of itself: the pod is injected again, and has to look the same.
func Verify(pod *corev1.Pod, in Inputs) field.ErrorList {
	if errs := in.takeUID(pod); errs != nil {
		return errs
	}
	in.Revision, in.TrustedCAs = pod.Annotations[v1alpha1.AnnotationRevision], nil
	want, errs := Pod(pod, in)
	if len(errs) > 0 {
		return errs
	}
	return compare(want, pod)
}

// takeUID reads the proxy's user from the sidecar. The mutating webhook draws a new one at each call, so that a pod cannot
// choose its own.
func (in *Inputs) takeUID(pod *corev1.Pod) field.ErrorList {
	at := field.NewPath("spec", "initContainers")
	proxy := ProxyOf(pod)
	if proxy == nil {
		return field.ErrorList{field.Required(at, "the proxy's container is missing: another webhook removed it, or netproxy's did not run; create the pod again")}
	}
	if in.Spec.Proxy.UID != nil {
		return nil
	}
	if s := proxy.SecurityContext; s == nil || s.RunAsUser == nil || *s.RunAsUser < MinPodUID || *s.RunAsUser > MaxPodUID {
		return field.ErrorList{field.Forbidden(at.Key(ProxyContainer).Child("securityContext", "runAsUser"), altered)}
	}
	in.UID = *proxy.SecurityContext.RunAsUser
	return nil
}

const altered = "differs from what netproxy injects: another webhook changed it; leave netproxy's containers and volumes out of that webhook"

func compare(want, got *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	root := field.NewPath("spec")
	for _, label := range fixedLabels(want) {
		if want.Labels[label] != got.Labels[label] {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "labels").Key(label), got.Labels[label], altered))
		}
	}
	errs = append(errs, compareContainers(want.Spec.InitContainers, got.Spec.InitContainers, root.Child("initContainers"))...)
	errs = append(errs, compareContainers(want.Spec.Containers, got.Spec.Containers, root.Child("containers"))...)
	return append(errs, compareVolumes(want.Spec.Volumes, got.Spec.Volumes, root.Child("volumes"))...)
}

// fixedLabels are netproxy's on the pod. Others may have the probes' on pods of their own, where it says nothing.
func fixedLabels(pod *corev1.Pod) []string {
	out := []string{v1alpha1.LabelPolicy, v1alpha1.LabelPolicyKind}
	if IsProbe(pod) {
		out = append(out, v1alpha1.LabelProbe)
	}
	return out
}

// compareContainers wants the same containers in the same order: what runs before the packet filter is not filtered.
func compareContainers(want, got []corev1.Container, at *field.Path) field.ErrorList {
	names := func(list []corev1.Container) []string {
		out := make([]string, len(list))
		for i := range list {
			out[i] = list[i].Name
		}
		return out
	}
	if !slices.Equal(names(want), names(got)) {
		return field.ErrorList{field.Invalid(at, names(got), fmt.Sprintf("must be %v in this order: another webhook changed it", names(want)))}
	}
	var errs field.ErrorList
	for i := range want {
		for _, part := range differences(&want[i], &got[i]) {
			errs = append(errs, field.Forbidden(at.Key(want[i].Name).Child(part), altered))
		}
	}
	return errs
}

// differences names the parts of a container that are not the same. Resources may be changed by others: they are no part of the
// protection. Parts that most containers do not have, or that are plain, are compared without reflection: every pod goes through here.
func differences(want, got *corev1.Container) []string {
	var out []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"args", slices.Equal(want.Args, got.Args)},
		{"command", slices.Equal(want.Command, got.Command)},
		{"env", slices.EqualFunc(want.Env, got.Env, sameValue)},
		{"envFrom", slices.EqualFunc(want.EnvFrom, got.EnvFrom, sameValue)},
		{"image", want.Image == got.Image},
		{"lifecycle", samePointer(want.Lifecycle, got.Lifecycle)},
		{"livenessProbe", samePointer(want.LivenessProbe, got.LivenessProbe)},
		{"readinessProbe", samePointer(want.ReadinessProbe, got.ReadinessProbe)},
		{"restartPolicy", samePointer(want.RestartPolicy, got.RestartPolicy)},
		{"securityContext", samePointer(want.SecurityContext, got.SecurityContext)},
		{"startupProbe", samePointer(want.StartupProbe, got.StartupProbe)},
		{"volumeDevices", slices.Equal(want.VolumeDevices, got.VolumeDevices)},
		{"volumeMounts", apiequality.Semantic.DeepEqual(mounts(want), mounts(got))},
		{"workingDir", want.WorkingDir == got.WorkingDir},
	} {
		if !part.same {
			out = append(out, part.name)
		}
	}
	return out
}

// sameValue is true at once for values that are equal down to their pointers.
func sameValue[T comparable](a, b T) bool { return a == b || apiequality.Semantic.DeepEqual(a, b) }

func samePointer[T any](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return apiequality.Semantic.DeepEqual(a, b)
}

func mounts(c *corev1.Container) []corev1.VolumeMount {
	var out []corev1.VolumeMount
	for _, m := range c.VolumeMounts {
		if !IsReserved(c.Name) || m.MountPath != tokenMount || !m.ReadOnly {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	return out
}

func compareVolumes(want, got []corev1.Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range want {
		w := &want[i]
		k := slices.IndexFunc(got, func(v corev1.Volume) bool { return v.Name == w.Name })
		if k < 0 || !apiequality.Semantic.DeepEqual(*w, got[k]) {
			errs = append(errs, field.Forbidden(at.Key(w.Name), altered))
		}
	}
	return errs
}
