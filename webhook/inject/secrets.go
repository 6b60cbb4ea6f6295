package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

const ownSecret = "belongs to netproxy and holds keys and credentials; only the volumes that netproxy injects may refer to it: remove the reference"

// SecretReferences lists where a pod refers to Secrets of netproxy's. Volumes that are allowed to are named.
func SecretReferences(pod *corev1.Pod, allowed []string) field.ErrorList {
	var errs field.ErrorList
	add := func(name string, at *field.Path) {
		if v1alpha1.IsSecretName(name) {
			errs = append(errs, field.Invalid(at, name, ownSecret))
		}
	}
	root := field.NewPath("spec")
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; !slices.Contains(allowed, v.Name) {
			volumeReferences(v, root.Child("volumes").Index(i), add)
		}
	}
	containerReferences(pod.Spec.InitContainers, root.Child("initContainers"), add)
	containerReferences(pod.Spec.Containers, root.Child("containers"), add)
	for i := range pod.Spec.EphemeralContainers {
		environmentReferences(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom, root.Child("ephemeralContainers").Index(i), add)
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		add(s.Name, root.Child("imagePullSecrets").Index(i))
	}
	return errs
}

func volumeReferences(v *corev1.Volume, at *field.Path, add func(string, *field.Path)) {
	if v.Secret != nil {
		add(v.Secret.SecretName, at.Child("secret", "secretName"))
	}
	if v.Projected != nil {
		for k, source := range v.Projected.Sources {
			if source.Secret != nil {
				add(source.Secret.Name, at.Child("projected", "sources").Index(k))
			}
		}
	}
	if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
		add(v.CSI.NodePublishSecretRef.Name, at.Child("csi", "nodePublishSecretRef"))
	}
}

func containerReferences(containers []corev1.Container, at *field.Path, add func(string, *field.Path)) {
	for i := range containers {
		environmentReferences(containers[i].Env, containers[i].EnvFrom, at.Index(i), add)
	}
}

func environmentReferences(env []corev1.EnvVar, from []corev1.EnvFromSource, at *field.Path, add func(string, *field.Path)) {
	for i, e := range env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			add(e.ValueFrom.SecretKeyRef.Name, at.Child("env").Index(i))
		}
	}
	for i, f := range from {
		if f.SecretRef != nil {
			add(f.SecretRef.Name, at.Child("envFrom").Index(i))
		}
	}
}

// InjectedSecrets warns of Secrets that the pod itself reads although the policy injects them: the workload then holds what it
// should not.
func InjectedSecrets(pod *corev1.Pod, spec *v1alpha1.EgressPolicySpec) []string {
	if spec.MITM == nil {
		return nil
	}
	injects := map[string]bool{}
	for _, m := range spec.MITM.HeaderMutations {
		for _, h := range m.Headers {
			if h.SecretRef != nil {
				injects[h.SecretRef.Name] = true
			}
		}
	}
	var out []string
	add := func(name string, at *field.Path) {
		if injects[name] {
			out = append(out, at.String()+": the pod reads Secret "+name+" itself, which the proxy injects for it; remove the reference, so that the workload does not hold the credential")
		}
	}
	root := field.NewPath("spec")
	for i := range pod.Spec.Volumes {
		volumeReferences(&pod.Spec.Volumes[i], root.Child("volumes").Index(i), add)
	}
	containerReferences(pod.Spec.InitContainers, root.Child("initContainers"), add)
	containerReferences(pod.Spec.Containers, root.Child("containers"), add)
	return out
}
