package admission

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
)

func TestInject(t *testing.T) {
	s := serve(t, policy("agent", 0), rendered(v1alpha1.KindEgressPolicy, "agent"))
	got := injected(t, s)
	if !inject.IsInjected(got) {
		t.Fatal("there is no proxy")
	}
	want := map[string]string{v1alpha1.AnnotationRevision: "r7", v1alpha1.AnnotationTrusted: "aa,bb"}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if uid := *inject.ProxyOf(got).SecurityContext.RunAsUser; uid != inject.MinPodUID {
		t.Errorf("the proxy's user is %d, and the random number was 0", uid)
	}
	allowed(t, s.validatePod(t.Context(), about(got, nil)))
	// The answer for the same pod again is the same pod: another webhook may have had it called twice.
	again := apply(t, got, s.mutatePod(t.Context(), about(got, nil)))
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("a second injection changes (-once +twice):\n%s", diff)
	}
}

// TestInjectWithoutSecret: the first pods can come before the reconciler. They wait for the Secret in the kubelet.
func TestInjectWithoutSecret(t *testing.T) {
	s := serve(t, policy("agent", 0))
	got := injected(t, s)
	if len(got.Annotations) > 0 {
		t.Errorf("annotations of a Secret that is not there: %v", got.Annotations)
	}
	allowed(t, s.validatePod(t.Context(), about(got, nil)))
}

func TestWhichPolicy(t *testing.T) {
	deleted := policy("deleted", -5)
	deleted.DeletionTimestamp, deleted.Finalizers = new(metav1.Now()), []string{v1alpha1.Finalizer}
	elsewhere := policy("elsewhere", -9)
	elsewhere.Namespace = "other"
	tests := map[string]struct {
		policies []client.Object
		labels   map[string]string
		want     string
	}{
		"none":                        {nil, nil, ""},
		"one":                         {[]client.Object{policy("agent", 0)}, nil, "agent"},
		"the oldest":                  {[]client.Object{policy("a", 2), policy("b", 1)}, nil, "b"},
		"of one age, by name":         {[]client.Object{policy("b", 1), policy("a", 1)}, nil, "a"},
		"the cluster's goes first":    {[]client.Object{policy("a", 0), widePolicy("wide", map[string]string{"team": "a"})}, nil, "wide"},
		"the cluster's, not here":     {[]client.Object{policy("a", 0), widePolicy("wide", map[string]string{"team": "b"})}, nil, "a"},
		"not one that is deleted":     {[]client.Object{policy("a", 0), deleted}, nil, "a"},
		"not another namespace's":     {[]client.Object{elsewhere}, nil, ""},
		"not one for other labels":    {[]client.Object{policy("a", 0)}, map[string]string{"app": "web"}, ""},
		"none for a pod without any":  {[]client.Object{policy("a", 0)}, map[string]string{}, ""},
		"a deleted one alone is none": {[]client.Object{deleted}, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := pod()
			if tt.labels != nil {
				p.Labels = tt.labels
			}
			got := serve(t, tt.policies...).mutatePod(t.Context(), about(p, nil))
			allowed(t, got)
			if tt.want == "" {
				if len(got.Patch) > 0 {
					t.Errorf("a patch without a policy: %s", got.Patch)
				}
				return
			}
			if has := apply(t, p, got).Labels[v1alpha1.LabelPolicy]; has != tt.want {
				t.Errorf("the pod got policy %q, want %q", has, tt.want)
			}
		})
	}
}

// TestWhichPolicyLive: a policy that came, or was changed, a moment before the pod is not in the cache yet.
func TestWhichPolicyLive(t *testing.T) {
	widened := policy("agent", 0)
	widened.UID, widened.Generation = "u1", 2
	narrow := widened.DeepCopy()
	narrow.Generation, narrow.Spec.PodSelector.MatchLabels = 1, map[string]string{"app": "web"}
	wide := widePolicy("wide", map[string]string{"team": "a"})
	wide.UID = "u2"
	tests := map[string]struct {
		cached, live []client.Object
		want         bool
	}{
		"created":           {nil, []client.Object{widened}, true},
		"created, cluster":  {nil, []client.Object{wide}, true},
		"widened":           {[]client.Object{narrow}, []client.Object{widened}, true},
		"the same":          {[]client.Object{narrow}, []client.Object{narrow}, false},
		"deleted meanwhile": {[]client.Object{narrow}, nil, false},
	}
	for name, tt := range tests {
		s := serve(t, tt.cached...)
		s.live = serve(t, tt.live...).live
		got := s.mutatePod(t.Context(), about(pod(), nil))
		allowed(t, got)
		if (len(got.Patch) > 0) != tt.want {
			t.Errorf("%s: patch %s, want one: %v", name, got.Patch, tt.want)
		}
	}
	s := serve(t)
	s.live = broken{}
	says(t, s.mutatePod(t.Context(), about(pod(), nil)), "on fire")
}

func TestRefused(t *testing.T) {
	s := serve(t, policy("agent", 0))
	tests := map[string]struct {
		change func(*corev1.Pod)
		says   []string
	}{
		"the node's network": {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, []string{"EgressPolicy/demo/agent", "spec.hostNetwork", "remove hostNetwork"}},
		"privileged": {func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		},
			[]string{"spec.containers[0].securityContext.privileged"}},
		"netproxy's Secret": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "x", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "netproxy-egp-agent"}}}}
		}, []string{"spec.volumes[0].secret.secretName", "remove the reference"}},
		"two reasons": {func(p *corev1.Pod) { p.Spec.HostNetwork, p.Spec.HostPID = true, true }, []string{"spec.hostNetwork", "spec.hostPID"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			says(t, s.mutatePod(t.Context(), about(pod(tt.change), nil)), tt.says...)
		})
	}
}

// TestFailsClosed: whoever cannot look anything up lets nothing through.
func TestFailsClosed(t *testing.T) {
	s := serve(t)
	s.reader, s.live = broken{}, broken{}
	p := pod()
	says(t, s.mutatePod(t.Context(), about(p, nil)), "on fire")
	says(t, s.validatePod(t.Context(), about(p, nil)), "on fire")
	says(t, s.validatePod(t.Context(), about(p, pod(func(p *corev1.Pod) { p.Labels["x"] = "y" }))), "on fire")
	noUser := serve(t, policy("agent", 0))
	noUser.rand = &emptyReader{}
	says(t, noUser.mutatePod(t.Context(), about(p, nil)), "draw a user")
}

type emptyReader struct{}

func (*emptyReader) Read([]byte) (int, error) { return 0, io.EOF }

func TestDefaultResources(t *testing.T) {
	defaults := func(text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: v1alpha1.DefaultsConfigMap}, Data: map[string]string{v1alpha1.DefaultsResourcesKey: text}}
	}
	s := serve(t, policy("agent", 0), defaults("limits: {memory: 1Gi}"))
	limits := inject.ProxyOf(injected(t, s)).Resources.Limits
	if got := limits.Memory(); got.Cmp(resource.MustParse("1Gi")) != 0 || limits.Cpu().IsZero() {
		t.Errorf("limits are %v: want the cluster's memory, and the built-in CPU", limits)
	}
	bad := serve(t, policy("agent", 0), defaults("limit: {memory: 1Gi}"))
	says(t, bad.mutatePod(t.Context(), about(pod(), nil)), "netproxy-defaults", "resources")
}

func TestWarnsOfCredential(t *testing.T) {
	p := pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "openai"}}}}
	})
	got := serve(t, policy("agent", 0)).mutatePod(t.Context(), about(p, nil))
	allowed(t, got)
	if len(got.Warnings) != 1 {
		t.Errorf("warnings: %q, want one: the pod holds the credential that is injected for it", got.Warnings)
	}
}

// TestLastWord changes an injected pod, as another webhook could.
func TestLastWord(t *testing.T) {
	s := serve(t, policy("agent", 0), rendered(v1alpha1.KindEgressPolicy, "agent"))
	proxy := func(p *corev1.Pod) *corev1.Container { return inject.ProxyOf(p) }
	tests := map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"the proxy removed":    {func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[:1] }, "missing"},
		"another image":        {func(p *corev1.Pod) { proxy(p).Image = "evil:1" }, "is the name of a container of netproxy's"},
		"another user":         {func(p *corev1.Pod) { proxy(p).SecurityContext.RunAsUser = new(int64(0)) }, "runAsUser"},
		"an argument":          {func(p *corev1.Pod) { proxy(p).Args = append(proxy(p).Args, "--mode=validate") }, "netproxy"},
		"capture moved behind": {func(p *corev1.Pod) { i := p.Spec.InitContainers; i[0], i[1] = i[1], i[0] }, "initContainers"},
		"a container that is root": {func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		}, "privileged"},
		"hardening undone":   {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = nil }, "securityContext"},
		"the label changed":  {func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "weaker" }, "labels"},
		"the node's network": {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "hostNetwork"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := injected(t, s)
			tt.change(p)
			says(t, s.validatePod(t.Context(), about(p, nil)), tt.says)
		})
	}
	t.Run("never injected", func(t *testing.T) { says(t, s.validatePod(t.Context(), about(pod(), nil)), "missing") })
}

// TestUnselected pods get nothing, and may not help themselves.
func TestUnselected(t *testing.T) {
	s := serve(t, policy("agent", 0))
	other := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }
	allowed(t, s.validatePod(t.Context(), about(pod(other), nil)))
	says(t, s.validatePod(t.Context(), about(pod(other, func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "agent" }), nil)), v1alpha1.LabelPolicy, "remove the label")
	says(t, s.validatePod(t.Context(), about(pod(other, func(p *corev1.Pod) {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "netproxy-egp-agent"}}
	}), nil)), "imagePullSecrets")
}

func TestUpdate(t *testing.T) {
	s := serve(t, policy("agent", 0))
	other := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }
	selected := func(p *corev1.Pod) { p.Labels["app"] = "agent" }
	tests := map[string]struct {
		old    *corev1.Pod
		change func(*corev1.Pod)
		says   string // empty: allowed
	}{
		"nothing":                         {injected(t, s), func(*corev1.Pod) {}, ""},
		"the annotation of the kubelet":   {injected(t, s), func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationRevision, "r8") }, ""},
		"another label":                   {injected(t, s), func(p *corev1.Pod) { p.Labels["x"] = "y" }, ""},
		"out of the selector":             {injected(t, s), other, v1alpha1.LabelPolicy},
		"the policy's label removed":      {injected(t, s), func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelPolicy) }, "fixed when the pod is created"},
		"the image of the proxy":          {injected(t, s), func(p *corev1.Pod) { inject.ProxyOf(p).Image = "evil:1" }, "cannot be changed"},
		"the image of the application":    {injected(t, s), func(p *corev1.Pod) { p.Spec.Containers[0].Image = "agent:2" }, ""},
		"older than the policy":           {pod(), func(p *corev1.Pod) { p.Labels["x"] = "y" }, ""},
		"into the selector":               {pod(other), selected, "delete the pod and create it again"},
		"into it while it is deleted":     {pod(other), func(p *corev1.Pod) { selected(p); p.DeletionTimestamp = new(metav1.Now()) }, ""},
		"netproxy's label, by itself":     {pod(other), func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "agent" }, "netproxy's own"},
		"netproxy's label of a bare pod":  {pod(), func(p *corev1.Pod) { p.Labels[v1alpha1.LabelPolicy] = "agent" }, "netproxy's own"},
		"out of the selector, never in":   {pod(), other, ""},
		"a pod of no policy, other label": {pod(other), func(p *corev1.Pod) { p.Labels["x"] = "y" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			changed := tt.old.DeepCopy()
			tt.change(changed)
			got := s.validatePod(t.Context(), about(changed, tt.old))
			if tt.says == "" {
				allowed(t, got)
			} else {
				says(t, got, tt.says)
			}
		})
	}
}

func debug(c *corev1.SecurityContext) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "debug:1", SecurityContext: c}}}
	}
}

func TestEphemeral(t *testing.T) {
	s := serve(t, policy("agent", 0))
	ask := func(t *testing.T, p *corev1.Pod) (hardened *corev1.Pod) {
		r := about(p, p)
		r.SubResource = ephemeral
		got := s.mutatePod(t.Context(), r)
		allowed(t, got)
		if len(got.Patch) > 0 {
			return apply(t, p, got)
		}
		return p
	}
	validate := func(t *testing.T, p *corev1.Pod) (refusal string) {
		r := about(p, p)
		r.SubResource = ephemeral
		if got := s.validatePod(t.Context(), r); !got.Allowed {
			return got.Result.Message
		}
		return ""
	}
	in := func(change func(*corev1.Pod)) *corev1.Pod {
		p := injected(t, s)
		change(p)
		return p
	}
	t.Run("hardened", func(t *testing.T) {
		p := in(debug(nil))
		if validate(t, p) == "" {
			t.Error("allowed without hardening")
		}
		if refusal := validate(t, ask(t, p)); refusal != "" {
			t.Errorf("refused after hardening: %s", refusal)
		}
	})
	t.Run("privileged", func(t *testing.T) {
		if validate(t, ask(t, in(debug(&corev1.SecurityContext{Privileged: new(true)})))) == "" {
			t.Error("allowed")
		}
	})
	t.Run("the policy is gone", func(t *testing.T) {
		p := in(debug(nil))
		s.reader, s.live = serve(t).reader, serve(t).live
		if refusal := validate(t, ask(t, p)); refusal != "" {
			t.Errorf("refused: %s", refusal)
		}
		if validate(t, p) == "" {
			t.Error("allowed without hardening")
		}
	})
	t.Run("no policy", func(t *testing.T) {
		p := pod(debug(nil))
		if refusal := validate(t, ask(t, p)); refusal != "" {
			t.Errorf("refused: %s", refusal)
		}
		p.Spec.EphemeralContainers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "netproxy-egp-agent"}}}}
		if validate(t, p) == "" {
			t.Error("netproxy's Secret can be read")
		}
	})
}
