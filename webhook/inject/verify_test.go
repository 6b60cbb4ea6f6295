package inject

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

func proxyIndex(pod *corev1.Pod) int {
	return slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == ProxyContainer })
}

// tampering are changes that another webhook, or the author of a pod, could make.
func tampering() map[string]func(*corev1.Pod) {
	proxy := func(pod *corev1.Pod) *corev1.Container { return &pod.Spec.InitContainers[proxyIndex(pod)] }
	return map[string]func(*corev1.Pod){
		"proxy removed": func(p *corev1.Pod) {
			p.Spec.InitContainers = slices.Delete(p.Spec.InitContainers, proxyIndex(p), proxyIndex(p)+1)
		},
		"capture removed": func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] },
		"something before the capture": func(p *corev1.Pod) {
			p.Spec.InitContainers = slices.Insert(p.Spec.InitContainers, 0, corev1.Container{Name: "early", Image: "x"})
		},
		"proxy's image":     func(p *corev1.Pod) { proxy(p).Image = "evil" },
		"proxy's arguments": func(p *corev1.Pod) { proxy(p).Args[1] = "/tmp/x" },
		"proxy's environment": func(p *corev1.Pod) {
			proxy(p).Env = append(proxy(p).Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/x"})
		},
		"proxy's user":              func(p *corev1.Pod) { proxy(p).SecurityContext.RunAsUser = new(int64(1000)) },
		"proxy's files":             func(p *corev1.Pod) { proxy(p).VolumeMounts[0].Name = "other" },
		"proxy is an init":          func(p *corev1.Pod) { proxy(p).RestartPolicy = nil },
		"capture's user to exempt":  func(p *corev1.Pod) { p.Spec.InitContainers[0].Args[1] = "--uid=0" },
		"policy's label":            func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "other" },
		"configuration from others": func(p *corev1.Pod) { volumeOf(p, volumeConfig).Projected.Sources[0].Secret.Name = "other" },
		"proxy's volume in the application": func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: volumeTLS, MountPath: "/x"})
		},
		"writable trust":       func(p *corev1.Pod) { mountOf(&p.Spec.Containers[0], bundleMount).ReadOnly = false },
		"application hardened": func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = nil },
		"shared processes":     func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) },
		"own Secret in the application": func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "netproxy-egp-agent"}}}}
		},
	}
}

func volumeOf(pod *corev1.Pod, name string) *corev1.Volume {
	return &pod.Spec.Volumes[slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })]
}

func mountOf(c *corev1.Container, path string) *corev1.VolumeMount {
	return &c.VolumeMounts[slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path })]
}

func injectedPod(t *testing.T) (Inputs, *corev1.Pod) {
	t.Helper()
	in, pod := read(t, "testdata/intercepting.in.yaml")
	out, errs := Pod(pod, in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return in, out
}

func TestVerifyFindsTampering(t *testing.T) {
	for name, tamper := range tampering() {
		t.Run(name, func(t *testing.T) {
			in, pod := injectedPod(t)
			tamper(pod)
			if errs := Verify(pod, in); len(errs) == 0 {
				t.Error("not found")
			}
		})
	}
}

// TestVerifyAccepts has what others may do.
func TestVerifyAccepts(t *testing.T) {
	in, pod := injectedPod(t)
	token := corev1.VolumeMount{Name: "kube-api-access-x", MountPath: tokenMount, ReadOnly: true}
	for i := range pod.Spec.InitContainers {
		pod.Spec.InitContainers[i].VolumeMounts = append(pod.Spec.InitContainers[i].VolumeMounts, token)
	}
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "mesh", Image: pod.Spec.Containers[0].Image})
	pod.Spec.Containers[1].SecurityContext = pod.Spec.Containers[0].SecurityContext
	pod.Spec.Containers[1].Env, pod.Spec.Containers[1].VolumeMounts = pod.Spec.Containers[0].Env, pod.Spec.Containers[0].VolumeMounts
	pod.Spec.Volumes = slices.Insert(pod.Spec.Volumes, 0, corev1.Volume{Name: "kube-api-access-x"})
	if errs := Verify(pod, in); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestVerifyUpdate(t *testing.T) {
	_, old := injectedPod(t)
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"image of the application": {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "app:2" }, ""},
		"other label":              {func(p *corev1.Pod) { p.Labels["x"] = "y" }, ""},
		"revision":                 {func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationRevision] = "r2" }, ""},
		"policy":                   {func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelPolicy) }, "fixed when the pod is created"},
		"image of the proxy":       {func(p *corev1.Pod) { p.Spec.InitContainers[proxyIndex(p)].Image = "evil" }, "cannot be changed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pod := old.DeepCopy()
			c.change(pod)
			expect(t, VerifyUpdate(pod, old), c.want)
		})
	}
}

func TestEphemeral(t *testing.T) {
	cases := map[string]struct {
		container corev1.EphemeralContainer
		want      string
	}{
		"plain":        {corev1.EphemeralContainer{}, ""},
		"target":       {corev1.EphemeralContainer{TargetContainerName: ProxyContainer}, "proxy's memory"},
		"privileged":   {ephemeral(&corev1.SecurityContext{Privileged: new(true)}), "privileged"},
		"NET_ADMIN":    {ephemeral(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}), "packet filter"},
		"proxy's user": {ephemeral(&corev1.SecurityContext{RunAsUser: new(MinPodUID + 7)}), "is the proxy's user"},
		"escalation":   {ephemeral(&corev1.SecurityContext{AllowPrivilegeEscalation: new(true)}), "set-user-ID"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in, pod := injectedPod(t)
			c.container.Name = "debug"
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{c.container}
			expect(t, VerifyEphemeral(HardenEphemeral(pod, in), in), c.want)
		})
	}
	in, pod := injectedPod(t)
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	expect(t, VerifyEphemeral(pod, in), "which netproxy's webhook does")
}

func ephemeral(s *corev1.SecurityContext) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{SecurityContext: s}}
}

func expect(t *testing.T, errs field.ErrorList, want string) {
	t.Helper()
	if want == "" {
		if len(errs) > 0 {
			t.Error(errs)
		}
		return
	}
	if len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), want) {
		t.Errorf("got %v, want %q", errs, want)
	}
}
