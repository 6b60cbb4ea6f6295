package control

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/render"
)

// oneConfigMap is a cache with the cluster's defaults, if it has data.
type oneConfigMap struct {
	client.Reader
	data map[string]string
	err  error
}

func (c oneConfigMap) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if c.err != nil {
		return c.err
	}
	if c.data == nil || key != (client.ObjectKey{Namespace: "netproxy-system", Name: v1alpha1.DefaultsConfigMap}) {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	object.(*corev1.ConfigMap).Data = c.data
	object.SetResourceVersion("7")
	return nil
}

// TestPrivateRanges: what cannot be understood takes nothing away from what is closed.
func TestPrivateRanges(t *testing.T) {
	set := func(text string) oneConfigMap {
		return oneConfigMap{data: map[string]string{v1alpha1.DefaultsPrivateRangesKey: text}}
	}
	secret := func(annotation string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationPrivateRanges: annotation}}}
	}
	for name, tt := range map[string]struct {
		defaults oneConfigMap
		stored   *corev1.Secret
		want     string
		problem  string
		failure  string
		err      error
	}{
		"no defaults":             {},
		"no ranges":               {defaults: oneConfigMap{data: map[string]string{v1alpha1.DefaultsResourcesKey: "limits: {}"}}},
		"ranges":                  {defaults: set("[203.0.113.0/24, 25.0.0.0/8]"), stored: secret("198.51.100.0/24"), want: "25.0.0.0/8,203.0.113.0/24"},
		"all taken away":          {defaults: set("[]"), stored: secret("198.51.100.0/24")},
		"broken":                  {defaults: set("[203.0.113.0/99]"), stored: secret("25.0.0.0/8,203.0.113.0/24"), want: "25.0.0.0/8,203.0.113.0/24", problem: `"203.0.113.0/99": bad prefix length; write /0 to /32; the policy keeps the private ranges that it had`},
		"broken from the start":   {defaults: set("203.0.113.0/24"), stored: &corev1.Secret{}, problem: "write a list of CIDRs in YAML"},
		"broken for a new policy": {defaults: set("{a: b}"), failure: "a policy that is not rendered yet waits until this is mended"},
		"broken twice":            {defaults: set("{a: b}"), stored: secret("x"), failure: "annotation netproxy.dev/private-ranges of the policy's Secret does not say what they were"},
		"no answer":               {defaults: oneConfigMap{err: context.Canceled}, stored: secret("25.0.0.0/8"), err: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			controller := &targets{&cluster{Options: Options{Namespace: "netproxy-system"}, Reader: tt.defaults}}
			request, read := render.Request{}, versions{}
			problems, err := controller.privateRanges(t.Context(), &request, tt.stored, read)
			if diff := cmp.Diff(tt.want, joinRanges(request.PrivateRanges)); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			said := ""
			for _, p := range problems {
				said += p.Reason + ": " + p.Message
			}
			if tt.problem == "" && said != "" || !strings.Contains(said, tt.problem) {
				t.Errorf("problems: %s", said)
			}
			var failure *Failure
			switch {
			case tt.err != nil:
				if !errors.Is(err, tt.err) || errors.As(err, &failure) {
					t.Errorf("error: %v", err)
				}
				return
			case tt.failure != "":
				if !errors.As(err, &failure) || !strings.Contains(failure.Message, tt.failure) {
					t.Errorf("failure: %v", err)
				}
			case err != nil:
				t.Errorf("error: %v", err)
			}
			version := map[bool]string{true: "7", false: absent}[tt.defaults.data != nil]
			want := versions{defaultsAt("netproxy-system"): version}
			if diff := cmp.Diff(want, read); diff != "" {
				t.Errorf("what was read (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRangesOfSecret: the annotation gives back what was written.
func TestRangesOfSecret(t *testing.T) {
	want := []netip.Prefix{netip.MustParsePrefix("25.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	_, annotations := wanted{private: want}.meta(agentTarget())
	got, err := splitRanges(annotations[v1alpha1.AnnotationPrivateRanges])
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, annotations = wanted{}.meta(agentTarget())
	if !contains(nil, map[string]string{v1alpha1.AnnotationPrivateRanges: annotations[v1alpha1.AnnotationPrivateRanges]}) {
		t.Error("a Secret without ranges, as older versions wrote it, would be written anew")
	}
}
