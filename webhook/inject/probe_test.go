package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// TestProbePod: what the plugin submits needs no change by hand, for policies of both kinds.
func TestProbePod(t *testing.T) {
	for _, ref := range []xds.PolicyRef{
		{Kind: v1alpha1.KindEgressPolicy, Namespace: "demo", Name: "agent"}, {Kind: v1alpha1.KindClusterEgressPolicy, Name: "wide"},
	} {
		in, _ := read(t, "testdata/intercepting.in.yaml")
		in.Ref, in.Probe = ref, v1alpha1.ProbePrefix+"x7k2p"
		pod := ProbePod(in.Probe, "demo", ref)
		got, err := BoundTo(pod, "demo")
		if err != nil || got != ref {
			t.Errorf("bound to %v, %v, want %v", got, err, ref)
		}
		injected, errs := Pod(pod, in)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if errs := Verify(injected, in); len(errs) > 0 {
			t.Error(errs)
		}
	}
}

func TestBoundToNothing(t *testing.T) {
	for _, value := range []string{"", "agent", "EgressPolicy", "EgressPolicy/", "Secret/agent", "egresspolicy/agent", "/agent"} {
		pod := ProbePod("netproxy-probe-x", "demo", xds.PolicyRef{})
		pod.Annotations[v1alpha1.AnnotationProbe] = value
		if ref, err := BoundTo(pod, "demo"); err == nil {
			t.Errorf("%q is %v", value, ref)
		}
	}
}

func probe(t *testing.T) (Inputs, *corev1.Pod) {
	t.Helper()
	in, pod := read(t, "testdata/probe.in.yaml")
	out, errs := Pod(pod, in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return in, out
}

// probeTampering is what would let something else run where SYS_ADMIN is.
func probeTampering() map[string]func(*corev1.Pod) {
	c := func(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[0] }
	return map[string]func(*corev1.Pod){
		"image":       func(p *corev1.Pod) { c(p).Image = "evil:1" },
		"command":     func(p *corev1.Pod) { c(p).Command = []string{"/bin/sh"} },
		"arguments":   func(p *corev1.Pod) { c(p).Args = []string{"--help"} },
		"environment": func(p *corev1.Pod) { c(p).Env = append(c(p).Env, corev1.EnvVar{Name: "X", Value: "y"}) },
		"lifecycle": func(p *corev1.Pod) {
			c(p).Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/x"}}}}
		},
		"liveness": func(p *corev1.Pod) {
			c(p).LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/x"}}}}
		},
		"capabilities": func(p *corev1.Pod) {
			c(p).SecurityContext.Capabilities.Add = append(c(p).SecurityContext.Capabilities.Add, "SYS_PTRACE")
		},
		"privileged": func(p *corev1.Pod) { c(p).SecurityContext.Privileged = new(true) },
		"unconfined": func(p *corev1.Pod) { c(p).SecurityContext.SeccompProfile = nil },
		"mount": func(p *corev1.Pod) {
			c(p).VolumeMounts = append(c(p).VolumeMounts, corev1.VolumeMount{Name: volumeTLS, MountPath: "/x"})
		},
		"writable lab": func(p *corev1.Pod) { c(p).VolumeMounts[0].ReadOnly = false },
		"second container": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x", Image: "x"})
		},
		"init container": func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "x", Image: "x"})
		},
		"volume":        func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x"}) },
		"policy's keys": func(p *corev1.Pod) { volumeOf(p, volumeConfig).Projected.Sources[0].Secret.Name = "netproxy-egp-agent" },
		"other lab":     func(p *corev1.Pod) { volumeOf(p, volumeLab).Projected.Sources[0].Secret.Name = "netproxy-egp-agent" },
		"policy's label": func(p *corev1.Pod) {
			p.Labels[v1alpha1.LabelPolicy], p.Labels[v1alpha1.LabelPolicyKind] = "agent", v1alpha1.KindEgressPolicy
		},
		"probe's label": func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelProbe) },
		"no deadline":   func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = nil },
		"restarts":      func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyAlways },
		"other policy":  func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationProbe] = "EgressPolicy/weak" },
		"other name":    func(p *corev1.Pod) { p.Name = "netproxy-probe-other" },
	}
}

func TestVerifyProbe(t *testing.T) {
	in, pod := probe(t)
	if errs := Verify(pod, in); len(errs) > 0 {
		t.Fatal(errs)
	}
	for name, tamper := range probeTampering() {
		t.Run(name, func(t *testing.T) {
			in, pod := probe(t)
			tamper(pod)
			if errs := Verify(pod, in); len(errs) == 0 {
				t.Error("not found")
			}
		})
	}
}

func TestProbeUpdate(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"nothing":            {func(*corev1.Pod) {}, ""},
		"other annotation":   {func(p *corev1.Pod) { p.Annotations["x"] = "y" }, ""},
		"no probe any more":  {func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.AnnotationProbe) }, "from its creation on or never"},
		"of another policy":  {func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationProbe] = "EgressPolicy/weak" }, "from its creation on or never"},
		"image of the probe": {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil:1" }, "spec.containers[probe].image"},
		"image of the proxy": {func(p *corev1.Pod) { p.Spec.InitContainers[proxyIndex(p)].Image = "evil:1" }, "spec.initContainers[netproxy].image"},
		"label":              {func(p *corev1.Pod) { p.Labels["app"] = "agent" }, "metadata.labels"},
		"policy's label":     {func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "agent" }, "metadata.labels"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, old := probe(t)
			pod := old.DeepCopy()
			c.change(pod)
			expect(t, VerifyUpdate(pod, old), c.want)
		})
	}
	_, old := injectedPod(t)
	pod := old.DeepCopy()
	pod.Annotations[v1alpha1.AnnotationProbe] = "EgressPolicy/agent"
	expect(t, VerifyUpdate(pod, old), "from its creation on or never")
	pod.Annotations[v1alpha1.AnnotationProbe], old.Annotations[v1alpha1.AnnotationProbe] = "", ""
	delete(pod.Annotations, v1alpha1.AnnotationProbe)
	expect(t, VerifyUpdate(pod, old), "from its creation on or never")
}

func TestCountsAsProbe(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"as injected":   {func(*corev1.Pod) {}, true},
		"no annotation": {func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.AnnotationProbe) }, false},
		"no proxy":      {func(p *corev1.Pod) { p.Spec.InitContainers = nil }, false},
		"no end":        {func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = nil }, false},
		"a late end":    {func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(ProbeSeconds + 1) }, false},
	}
	for name, c := range cases {
		_, pod := probe(t)
		c.change(pod)
		if got := CountsAsProbe(pod); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestNoProbe: a pod that only says that it is one is not injected as a pod of the policy's.
func TestNoProbe(t *testing.T) {
	in, pod := read(t, "testdata/plain.in.yaml")
	pod.Annotations = map[string]string{v1alpha1.AnnotationProbe: "EgressPolicy/agent"}
	_, errs := Pod(pod, in)
	expect(t, errs, "remove the annotation")
}

// TestProbeIsNoModel: the probe's capabilities are for nobody else.
func TestProbeIsNoModel(t *testing.T) {
	in, injected := probe(t)
	pod := ProbePod("p", "demo", in.Ref)
	pod.Annotations, pod.Labels, in.Probe = nil, nil, ""
	pod.Spec.Containers = injected.Spec.Containers
	_, errs := Pod(pod, in)
	var got []any
	for _, err := range errs {
		got = append(got, err.BadValue)
	}
	want := []any{corev1.Capability("NET_ADMIN"), corev1.Capability("NET_RAW"), corev1.Capability("SYS_ADMIN"), "", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refused (-want +got):\n%s\n%v", diff, errs)
	}
}
