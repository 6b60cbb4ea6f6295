package admission

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

func TestPolicies(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.EgressPolicy)
		says   []string // empty: allowed
		warns  string
	}{
		"good":                {func(*v1alpha1.EgressPolicy) {}, nil, ""},
		"bad host":            {func(p *v1alpha1.EgressPolicy) { p.Spec.Egress.Rules[0].Hosts[0] = "*.com" }, []string{"spec.egress.rules[0].hosts[0]", "*.com"}, ""},
		"not intercepted":     {func(p *v1alpha1.EgressPolicy) { p.Spec.MITM.HeaderMutations[0].Domain = "other.example.com" }, []string{"spec.mitm.headerMutations[0].domain"}, ""},
		"a rotation":          {annotated(v1alpha1.AnnotationRotateCA, "2026-11-26T00:00:00Z"), nil, ""},
		"a rotation, no time": {annotated(v1alpha1.AnnotationRotateLeaf, "now"), []string{"metadata.annotations[netproxy.dev/rotate-leaf]", "2006-01-02T15:04:05Z"}, ""},
		"passed through":      {func(p *v1alpha1.EgressPolicy) { p.Spec.MITM = nil }, nil, "passes through unseen"},
		"limits below requests": {func(p *v1alpha1.EgressPolicy) {
			p.Spec.Proxy.Resources = v1alpha1.Resources{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}}
		}, []string{"spec.proxy.resources"}, ""},
		"a system's namespace": {func(p *v1alpha1.EgressPolicy) { p.Namespace = "kube-system" }, nil, "never touched"},
		"too large": {func(p *v1alpha1.EgressPolicy) {
			p.Spec.Egress.Rules = nil
			for i := range 3000 {
				p.Spec.Egress.Rules = append(p.Spec.Egress.Rules, v1alpha1.Rule{Action: v1alpha1.ActionAllow, Hosts: []string{fmt.Sprintf("%s-%d.example.com", strings.Repeat("x", 40), i)}})
			}
		}, []string{"Secret", "split the policy"}, ""},
		"deleted, and never valid": {func(p *v1alpha1.EgressPolicy) {
			p.DeletionTimestamp, p.Spec.Egress.Rules[0].Hosts[0] = new(metav1.Now()), "*.com"
		}, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy("agent", 0)
			tt.change(p)
			got := serve(t).validatePolicy(t.Context(), request(t, p, nil))
			if len(tt.says) > 0 {
				says(t, got, tt.says...)
			} else {
				allowed(t, got)
			}
			if !strings.Contains(strings.Join(got.Warnings, "\n"), tt.warns) {
				t.Errorf("no warning says %q: %q", tt.warns, got.Warnings)
			}
		})
	}
}

func annotated(key, value string) func(*v1alpha1.EgressPolicy) {
	return func(p *v1alpha1.EgressPolicy) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value) }
}

// TestCover: admission is on before the policy exists, but not for one that only pretends, or is refused.
func TestCover(t *testing.T) {
	for name, want := range map[string]bool{"good": true, "refused": false, "dry run": false} {
		s, p := serve(t), policy("agent", 0)
		if name == "refused" {
			p.Spec.Egress.Rules[0].Hosts[0] = "*.com"
		}
		r := request(t, p, nil)
		r.DryRun = new(name == "dry run")
		s.validatePolicy(t.Context(), r)
		var namespace corev1.Namespace
		if err := s.live.Get(t.Context(), client.ObjectKey{Name: ns}, &namespace); err != nil {
			t.Fatal(err)
		}
		if got := namespace.Labels[v1alpha1.LabelEnabled] == "true"; got != want {
			t.Errorf("%s: labelled %v, want %v", name, got, want)
		}
	}
}

func TestPolicyUpdate(t *testing.T) {
	old := policy("agent", 0)
	old.Spec.Proxy.UID = new(int64(5000))
	moved := old.DeepCopy()
	moved.Spec.Proxy.Port = new(int32(16001))
	free := old.DeepCopy()
	free.Spec.Proxy.UID = nil
	renamed := old.DeepCopy()
	renamed.Spec.Egress.Rules[0].Name = "other"
	s := serve(t)
	allowed(t, s.validatePolicy(t.Context(), request(t, old, old)))
	allowed(t, s.validatePolicy(t.Context(), request(t, renamed, old)))
	says(t, s.validatePolicy(t.Context(), request(t, moved, old)), "spec.proxy.port")
	says(t, s.validatePolicy(t.Context(), request(t, free, old)), "spec.proxy.uid")
}

func TestPolicyUnreadable(t *testing.T) {
	r := request(t, policy("agent", 0), nil)
	r.Object.Raw = []byte(`{"apiVersion":"netproxy.dev/v1alpha1","kind":"EgressPolicy","metadata":{"name":"x","namespace":"demo"},"spec":{"egres":{}}}`)
	says(t, serve(t).validatePolicy(t.Context(), r), "egres")
	s := serve(t)
	s.reader, s.live = broken{}, broken{}
	says(t, s.validatePolicy(t.Context(), request(t, policy("agent", 0), nil)), "on fire")
}

func TestNamespaces(t *testing.T) {
	deleted := widePolicy("deleted", map[string]string{"team": "b"})
	deleted.DeletionTimestamp, deleted.Finalizers = new(metav1.Now()), []string{v1alpha1.Finalizer}
	s := serve(t, widePolicy("wide", map[string]string{"team": "a"}), deleted)
	tests := map[string]struct {
		name   string
		labels map[string]string
		want   bool
	}{
		"selected":                    {"new", map[string]string{"team": "a"}, true},
		"selected, with old label":    {"new", map[string]string{"team": "a", v1alpha1.LabelEnabled: "false"}, true},
		"marked already":              {"new", map[string]string{"team": "a", v1alpha1.LabelEnabled: "true"}, false},
		"not selected":                {"new", map[string]string{"team": "c"}, false},
		"without labels":              {"new", nil, false},
		"by a policy that is deleted": {"new", map[string]string{"team": "b"}, false},
		"the system's":                {"kube-system", map[string]string{"team": "a"}, false},
		"netproxy's own":              {own, map[string]string{"team": "a"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tt.name, Labels: tt.labels}}
			got := s.mutateNamespace(t.Context(), request(t, object, nil))
			allowed(t, got)
			if (len(got.Patch) > 0) != tt.want {
				t.Errorf("patch %s, want one: %v", got.Patch, tt.want)
			}
		})
	}
	s.reader, s.live = broken{}, broken{}
	says(t, s.mutateNamespace(t.Context(), request(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, nil)), "on fire")
}
