package admission

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

// authorizer stands for the API server, and lets its user update some policies.
type authorizer struct {
	client.Writer
	may   map[string]bool
	asked []authorizationv1.SubjectAccessReviewSpec
	fails error
}

func (a *authorizer) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	review, ok := object.(*authorizationv1.SubjectAccessReview)
	if !ok {
		return errors.New("nothing else is created here")
	}
	a.asked = append(a.asked, review.Spec)
	review.Status.Allowed = a.may[review.Spec.ResourceAttributes.Name]
	return a.fails
}

func (a *authorizer) names() []string {
	var out []string
	for _, spec := range a.asked {
		out = append(out, spec.ResourceAttributes.Resource+"/"+spec.ResourceAttributes.Name)
	}
	return out
}

// judge is a server that lets the user update these policies.
func judge(t testing.TB, may []string, objects ...client.Object) (*server, *authorizer) {
	t.Helper()
	a := &authorizer{may: map[string]bool{}}
	for _, name := range may {
		a.may[name] = true
	}
	s := serve(t, objects...)
	s.writer = a
	return s, a
}

func probeOf(policy v1alpha1.Policy, change ...func(*corev1.Pod)) *corev1.Pod {
	p := inject.ProbePod("netproxy-probe-x7k2p", ns, selection.RefOf(policy))
	for _, c := range change {
		c(p)
	}
	return p
}

// created is what the API server has after the mutating webhook.
func created(t testing.TB, s *server, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	return apply(t, p, s.mutatePod(t.Context(), about(p, nil)))
}

func labelled(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[key] = value }
}

func TestProbe(t *testing.T) {
	agent := policy("agent", 0)
	s, a := judge(t, []string{"agent"}, agent, rendered(v1alpha1.KindEgressPolicy, "agent"))
	got := created(t, s, probeOf(agent))
	if c := got.Spec.Containers; len(c) != 1 || c[0].Name != inject.ProbeContainer || c[0].Image != "cli:1" {
		t.Errorf("containers: %+v", c)
	}
	if diff := cmp.Diff(map[string]string{v1alpha1.AnnotationProbe: "EgressPolicy/agent"}, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if a.asked != nil {
		t.Errorf("asked before anything is final: %v", a.names())
	}
	r := about(got, nil)
	r.User = authenticationv1.UserInfo{Username: "jane", UID: "7", Groups: []string{"dev"}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"x", "y"}}}
	allowed(t, s.validatePod(t.Context(), r))
	want := []authorizationv1.SubjectAccessReviewSpec{{
		User: "jane", UID: "7", Groups: []string{"dev"}, Extra: map[string]authorizationv1.ExtraValue{"scopes": {"x", "y"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "update", Group: "netproxy.dev", Version: "v1alpha1", Resource: "egresspolicies", Namespace: ns, Name: "agent",
		},
	}}
	if diff := cmp.Diff(want, a.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestWhoMayProbe: those who could change the policy that holds the pod, be it the one that is named or the one of its labels.
func TestWhoMayProbe(t *testing.T) {
	agent, older, younger := policy("agent", 5), policy("older", 1), policy("younger", 9)
	wide, all := widePolicy("wide", map[string]string{"team": "a"}), widePolicy("all", nil)
	all.Spec.PodSelector = metav1.LabelSelector{}
	selected := labelled("app", "agent")
	tests := map[string]struct {
		pod      *corev1.Pod
		policies []client.Object
		may      []string
		asked    []string
		says     []string // empty: allowed
	}{
		"who may change it": {probeOf(agent), []client.Object{agent}, []string{"agent"}, []string{"egresspolicies/agent"}, nil},
		"who may not": {probeOf(agent), []client.Object{agent}, []string{"older"}, []string{"egresspolicies/agent"},
			[]string{`"jane" may not update EgressPolicy/demo/agent`, "verb update on egresspolicies.netproxy.dev"}},
		"the cluster's, who may":      {probeOf(wide), []client.Object{wide}, []string{"wide"}, []string{"clusteregresspolicies/wide"}, nil},
		"the cluster's, who may not":  {probeOf(wide), []client.Object{wide}, nil, []string{"clusteregresspolicies/wide"}, []string{"ClusterEgressPolicy/wide", "clusteregresspolicies.netproxy.dev"}},
		"selected by it too":          {probeOf(agent, selected), []client.Object{agent}, []string{"agent"}, []string{"egresspolicies/agent"}, nil},
		"selected by one that loses":  {probeOf(agent, selected), []client.Object{agent, younger}, []string{"agent"}, []string{"egresspolicies/agent"}, nil},
		"selected by one that wins":   {probeOf(agent, selected), []client.Object{agent, older}, []string{"agent"}, []string{"egresspolicies/agent", "egresspolicies/older"}, []string{"may not update EgressPolicy/demo/older", "get around it"}},
		"selected by one, may both":   {probeOf(agent, selected), []client.Object{agent, older}, []string{"agent", "older"}, []string{"egresspolicies/agent", "egresspolicies/older"}, nil},
		"the cluster's selects all":   {probeOf(agent), []client.Object{agent, all}, []string{"agent"}, []string{"egresspolicies/agent", "clusteregresspolicies/all"}, []string{"ClusterEgressPolicy/all"}},
		"the cluster's, may the rest": {probeOf(agent), []client.Object{agent, all}, []string{"all"}, []string{"egresspolicies/agent"}, []string{"EgressPolicy/demo/agent"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, a := judge(t, tt.may, tt.policies...)
			r := about(created(t, s, tt.pod), nil)
			r.User.Username = "jane"
			got := s.validatePod(t.Context(), r)
			if len(tt.says) > 0 {
				says(t, got, tt.says...)
			} else {
				allowed(t, got)
			}
			if diff := cmp.Diff(tt.asked, a.names()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// overruled is an authorizer's answer that one allows and another denies.
type overruled struct{ client.Writer }

func (overruled) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	object.(*authorizationv1.SubjectAccessReview).Status = authorizationv1.SubjectAccessReviewStatus{Allowed: true, Denied: true, Reason: "not today"}
	return nil
}

func TestProbeFailsClosed(t *testing.T) {
	agent := policy("agent", 0)
	s, a := judge(t, []string{"agent"}, agent)
	pod := created(t, s, probeOf(agent))
	a.fails = errors.New("the API server is on fire")
	says(t, s.validatePod(t.Context(), about(pod, nil)), "on fire")
	s.writer = overruled{}
	says(t, s.validatePod(t.Context(), about(pod, nil)), "not today")
	s.reader, s.live = broken{}, broken{}
	says(t, s.mutatePod(t.Context(), about(probeOf(agent), nil)), "on fire")
	says(t, s.validatePod(t.Context(), about(pod, nil)), "on fire")
}

// TestProbeBinding: the annotation decides, and names a policy that could hold a pod here.
func TestProbeBinding(t *testing.T) {
	agent := policy("agent", 0)
	deleted := policy("deleted", 0)
	deleted.DeletionTimestamp, deleted.Finalizers = new(metav1.Now()), []string{v1alpha1.Finalizer}
	elsewhere := policy("elsewhere", 0)
	elsewhere.Namespace = "other"
	here, there := widePolicy("here", map[string]string{"team": "a"}), widePolicy("there", map[string]string{"team": "b"})
	s, _ := judge(t, nil, agent, deleted, elsewhere, here, there)
	named := func(value string) *corev1.Pod {
		return probeOf(agent, func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationProbe] = value })
	}
	tests := map[string]struct {
		value string
		says  string // empty: allowed
	}{
		"its namespace's":    {"EgressPolicy/agent", ""},
		"the cluster's":      {"ClusterEgressPolicy/here", ""},
		"of other places":    {"ClusterEgressPolicy/there", "does not select namespace demo"},
		"another's":          {"EgressPolicy/elsewhere", "does not exist"},
		"another's, by path": {"EgressPolicy/other/elsewhere", "does not exist"},
		"that goes away":     {"EgressPolicy/deleted", "is being deleted"},
		"none":               {"EgressPolicy/none", "does not exist"},
		"of the wrong kind":  {"ClusterEgressPolicy/agent", "does not exist"},
		"nothing":            {"", "names no policy"},
	}
	for name, tt := range tests {
		got := s.mutatePod(t.Context(), about(named(tt.value), nil))
		if tt.says == "" {
			allowed(t, got)
			continue
		}
		t.Run(name, func(t *testing.T) { says(t, got, v1alpha1.AnnotationProbe, tt.says) })
	}
	says(t, s.mutatePod(t.Context(), about(probeOf(agent, func(p *corev1.Pod) { p.Name, p.GenerateName = "", p.Name }), nil)), "metadata.generateName")
	fresh := serve(t)
	fresh.live = s.live
	allowed(t, fresh.mutatePod(t.Context(), about(probeOf(agent), nil)))
}

// TestProbeLastWord: nothing but netproxy's own program runs with the probe's capabilities.
func TestProbeLastWord(t *testing.T) {
	agent := policy("agent", 0)
	s, _ := judge(t, []string{"agent"}, agent)
	says(t, s.validatePod(t.Context(), about(probeOf(agent), nil)), "missing")
	tests := map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"image":   {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil:1" }, "spec.containers[probe].image"},
		"another": {func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x"}) }, "spec.containers"},
		"name":    {func(p *corev1.Pod) { p.Name = "netproxy-egp-agent" }, "metadata.name"},
		"job's":   {func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "j"}} }, "metadata.ownerReferences"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := created(t, s, probeOf(agent))
			tt.change(p)
			says(t, s.validatePod(t.Context(), about(p, nil)), tt.says)
		})
	}
}

// TestProbeFixed: a pod is a probe from its creation on, or never.
func TestProbeFixed(t *testing.T) {
	agent := policy("agent", 0)
	s, _ := judge(t, []string{"agent"}, agent)
	ask := func(old *corev1.Pod, change func(*corev1.Pod)) (refusal string) {
		changed := old.DeepCopy()
		change(changed)
		if got := s.validatePod(t.Context(), about(changed, old)); !got.Allowed {
			return got.Result.Message
		}
		return ""
	}
	become := func(p *corev1.Pod) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationProbe, "EgressPolicy/agent")
	}
	probe := created(t, s, probeOf(agent))
	for name, refusal := range map[string]string{
		"a pod under the policy": ask(injected(t, s), become),
		"a pod without one":      ask(pod(), become),
		"a probe no more":        ask(probe, func(p *corev1.Pod) { p.Annotations = nil }),
		"another image":          ask(probe, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil:1" }),
		"into the selector":      ask(probe, labelled("app", "agent")),
	} {
		if refusal == "" {
			t.Errorf("%s: allowed", name)
		}
	}
	if refusal := ask(probe, func(p *corev1.Pod) { p.Annotations["x"] = "y" }); refusal != "" {
		t.Errorf("a harmless change: %s", refusal)
	}
	r := about(probe, probe)
	r.SubResource = ephemeral
	debug(nil)(r.Pod)
	says(t, s.validatePod(t.Context(), r), "spec.ephemeralContainers")
}

// TestProbeReview: whose request it is stands in the review.
func TestProbeReview(t *testing.T) {
	agent := policy("agent", 0)
	s, a := judge(t, []string{"agent"}, agent)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal([]byte(reviewText(t, created(t, s, probeOf(agent)), nil)), &review); err != nil {
		t.Fatal(err)
	}
	review.Request.UserInfo = authenticationv1.UserInfo{Username: "system:serviceaccount:ci:robot", Groups: []string{"system:serviceaccounts"}}
	text, err := json.Marshal(&review)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, post(t, s.handlers()[PathValidatePod], string(text))); !got.Allowed {
		t.Fatalf("refused: %s", got.Result.Message)
	}
	if len(a.asked) != 1 || a.asked[0].User != "system:serviceaccount:ci:robot" || len(a.asked[0].Groups) != 1 {
		t.Errorf("asked about %+v", a.asked)
	}
}
