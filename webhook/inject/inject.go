// Package inject puts netproxy into a pod, and tells whether it is still there. It is pure: a pod and a policy in, a pod or
// the reasons against it out.
package inject

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// Names of the injected containers. Trust containers are numbered.
const (
	InitContainer  = "netproxy-init"
	ProxyContainer = "netproxy"
	trustPrefix    = "netproxy-trust-"
)

// Bounds of the proxy's user when the policy names none: high enough that no image has it, and unknown until the pod is
// admitted.
const (
	MinPodUID int64 = 1 << 30
	MaxPodUID int64 = 1<<31 - 2
)

// Images are what the injected containers run.
type Images struct {
	// Init is netproxy-init's, Proxy is Envoy's, CLI has the plugin and is what probe pods run.
	Init, Proxy, CLI string
	// PullPolicy is theirs; empty is IfNotPresent.
	PullPolicy corev1.PullPolicy
}

func (i Images) pullPolicy() corev1.PullPolicy {
	if i.PullPolicy == "" {
		return corev1.PullIfNotPresent
	}
	return i.PullPolicy
}

// Inputs are what an injection depends on besides the pod. Equal inputs give equal pods.
type Inputs struct {
	Ref  xds.PolicyRef
	Spec *v1alpha1.EgressPolicySpec
	// Resources of the sidecar, after merging.
	Resources v1alpha1.Resources
	Images    Images
	// UID is the proxy's user in this pod, ignored if the policy names one.
	UID int64
	// Revision is that of the policy's Secret, and TrustedCAs are its CAs; both are empty if the Secret is not there yet.
	Revision   string
	TrustedCAs []string
	// Probe is the pod's name if it is a probe of the policy: then it gets the configuration in the Secret of its own name in place of
	// the policy's, and its container. Empty for all other pods.
	Probe string
}

// secret is the one with the sidecar's configuration.
func (in *Inputs) secret() string {
	if in.Probe != "" {
		return in.Probe
	}
	return v1alpha1.SecretName(in.Ref.Kind, in.Ref.Name)
}

func (in *Inputs) uid() int64 {
	if in.Spec.Proxy.UID != nil {
		return *in.Spec.Proxy.UID
	}
	return in.UID
}

// trusts says whether the policy has CAs that the workload has to know.
func (in *Inputs) trusts() bool { return in.Spec.MITM != nil || len(in.Spec.Trust.AdditionalCAs) > 0 }

// Pod returns a copy of the pod with netproxy in it. What an earlier injection put there is replaced, so that nothing that a
// pod brings along is believed. Errors are the reasons why the pod cannot be protected, each with the fix.
func Pod(pod *corev1.Pod, in Inputs) (*corev1.Pod, field.ErrorList) {
	out := pod.DeepCopy()
	strip(out, &in)
	if errs := refuse(out, &in); len(errs) > 0 {
		return nil, errs
	}
	if in.Probe != "" {
		out.Spec.Containers = []corev1.Container{probeContainer(&in)}
	}
	slots := trustSlots(&out.Spec, &in)
	for i := range out.Spec.InitContainers {
		prepare(&out.Spec.InitContainers[i], &in, slots)
	}
	for i := range out.Spec.Containers {
		prepare(&out.Spec.Containers[i], &in, slots)
	}
	out.Spec.InitContainers = append(injected(&in, slots), out.Spec.InitContainers...)
	out.Spec.Volumes = append(out.Spec.Volumes, volumes(&in, slots)...)
	mark(out, &in)
	return out, nil
}

// prepare changes a container of the application.
func prepare(c *corev1.Container, in *Inputs, slots trust) {
	harden(c, in)
	if slot, ok := slots.index[c.Image]; ok {
		trustIn(c, slot)
	}
}

func mark(pod *corev1.Pod, in *Inputs) {
	set := func(m *map[string]string, key, value string) {
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[key] = value
	}
	delete(pod.Annotations, v1alpha1.AnnotationTrusted)
	delete(pod.Annotations, v1alpha1.AnnotationRevision)
	if in.Probe != "" {
		delete(pod.Labels, v1alpha1.LabelPolicy)
		delete(pod.Labels, v1alpha1.LabelPolicyKind)
		set(&pod.Labels, v1alpha1.LabelProbe, probeLabelled)
		return
	}
	set(&pod.Labels, v1alpha1.LabelPolicy, in.Ref.Name)
	set(&pod.Labels, v1alpha1.LabelPolicyKind, in.Ref.Kind)
	if len(in.TrustedCAs) > 0 {
		set(&pod.Annotations, v1alpha1.AnnotationTrusted, strings.Join(in.TrustedCAs, ","))
	}
	if in.Revision != "" {
		set(&pod.Annotations, v1alpha1.AnnotationRevision, in.Revision)
	}
}

// strip removes the containers and volumes of an earlier injection. What only has their name is left, and refused later.
func strip(pod *corev1.Pod, in *Inputs) {
	var kept []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if !isOurs(&c, in) {
			kept = append(kept, c)
		}
	}
	pod.Spec.InitContainers = kept
	var others []corev1.Volume
	for _, v := range pod.Spec.Volumes {
		if !isOurVolume(&v, in) {
			others = append(others, v)
		}
	}
	pod.Spec.Volumes = others
}

func isOurs(c *corev1.Container, in *Inputs) bool {
	switch {
	case c.Name == InitContainer:
		return c.Image == in.Images.Init
	case c.Name == ProxyContainer:
		return c.Image == in.Images.Proxy
	case isTrustName(c.Name):
		return len(c.Command) > 0 && c.Command[0] == binaryMount+"/"+names.InitBinary
	}
	return false
}

// IsInjected says whether the pod carries a sidecar of a policy: what counts is what the pod runs, not what it says.
func IsInjected(pod *corev1.Pod) bool {
	return pod.Labels[v1alpha1.LabelPolicy] != "" && ProxyOf(pod) != nil
}

// ProxyOf is the sidecar of the pod, or nil.
func ProxyOf(pod *corev1.Pod) *corev1.Container {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == ProxyContainer && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			return c
		}
	}
	return nil
}

// IsReserved says whether a container of this name belongs to netproxy.
func IsReserved(name string) bool {
	return name == InitContainer || name == ProxyContainer || isTrustName(name)
}

func isTrustName(name string) bool {
	number, ok := strings.CutPrefix(name, trustPrefix)
	_, err := strconv.Atoi(number)
	return ok && err == nil
}
