package control

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
)

// notes is a writer that remembers the patches.
type notes struct {
	client.Writer
	patches []string
	err     error
}

func (n *notes) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	body, err := patch.Data(object)
	if err != nil {
		return err
	}
	n.patches = append(n.patches, string(body))
	return n.err
}

// watch is a clock that stands still until it is turned.
type watch struct{ now time.Time }

func (w *watch) read() time.Time { return w.now }

func podController() (*pods, *notes, *watch) {
	n, w := &notes{}, &watch{time.Unix(1_800_000_000, 0)}
	return &pods{cluster: &cluster{Writer: n, board: newBoard(), clock: w.read}}, n, w
}

func runningPod(revision string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "agent-1", Annotations: map[string]string{v1alpha1.AnnotationRevision: revision},
			Labels: map[string]string{"app": "agent", v1alpha1.LabelPolicy: "agent", v1alpha1.LabelPolicyKind: v1alpha1.KindEgressPolicy},
		},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: inject.ProxyContainer, RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "192.0.2.1", InitContainerStatuses: []corev1.ContainerStatus{
			{Name: inject.ProxyContainer, Started: new(true)},
		}},
	}
}

func annotation(value string) string {
	return `{"metadata":{"annotations":{"netproxy.dev/revision":"` + value + `"}}}`
}

// TestBump tells the kubelet at once, again while the proxy does not run the revision, less and less often, and not for ever.
func TestBump(t *testing.T) {
	p, written, clock := podController()
	pod, state := runningPod("r1"), podState{}
	step := func(after time.Duration) {
		t.Helper()
		clock.now = clock.now.Add(after)
		if err := errors.Join(p.bump(t.Context(), pod, "r2", &state), p.bumpAgain(t.Context(), pod, "r2", &state)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, written.patches); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", when, diff)
		}
	}
	step(0)
	check("at first", annotation("r2"))
	step(bumpWait - time.Millisecond)
	check("too early", annotation("r2"))
	step(time.Millisecond)
	check("unconfirmed", annotation("r2"), annotation("r2.1"))
	step(bumpWait)
	check("twice as long to the next", annotation("r2"), annotation("r2.1"), annotation("r2.2"))
	for range 100 {
		step(time.Hour)
	}
	check("not for ever", annotation("r2"), annotation("r2.1"), annotation("r2.2"), annotation("r2.3"), annotation("r2.4"), annotation("r2.5"))
	if err := p.bump(t.Context(), pod, "r3", &state); err != nil {
		t.Fatal(err)
	}
	if got := written.patches[len(written.patches)-1]; got != annotation("r3") || state.bumps != 0 {
		t.Errorf("a new revision begins anew: %s, %d bumps", got, state.bumps)
	}
}

func TestBumpNot(t *testing.T) {
	tests := map[string]struct {
		pod   *corev1.Pod
		state podState
	}{
		"injected with it":         {runningPod("r2"), podState{}},
		"bumped by another leader": {runningPod("r2.3"), podState{}},
		"confirmed":                {runningPod("r2"), podState{bumpedTo: "r2", For: "r2"}},
		"enough":                   {runningPod("r2"), podState{bumpedTo: "r2", bumps: maxBumps}},
		"nobody answers there":     {runningPod("r2"), podState{bumpedTo: "r2", Observation: Observation{Unreachable: "timeout"}}},
	}
	for name, tt := range tests {
		p, written, _ := podController()
		err := errors.Join(p.bump(t.Context(), tt.pod, "r2", &tt.state), p.bumpAgain(t.Context(), tt.pod, "r2", &tt.state))
		if err != nil || len(written.patches) > 0 {
			t.Errorf("%s: %v, %v", name, written.patches, err)
		}
	}
	p, written, _ := podController()
	written.err = io.ErrUnexpectedEOF
	if p.bump(t.Context(), runningPod("r1"), "r2", &podState{}) == nil {
		t.Error("an error of the API server is lost")
	}
}

func TestJudge(t *testing.T) {
	want := Outcome{Revision: "r2", ConfigRevision: "c2", LeafSerial: "5e", SecretVersions: map[string]string{"sds.a.version_text": "v2"}}
	runs := Observation{ConfigRevision: "c2", LeafSerial: "5e", SecretVersions: map[string]string{"sds.a.version_text": "v2"}}
	changed := func(change func(*Observation)) Observation {
		o := runs
		o.SecretVersions = map[string]string{"sds.a.version_text": "v2"}
		change(&o)
		return o
	}
	tests := map[string]struct {
		seen   Observation
		waited time.Duration
		after  time.Duration
		inSync bool
	}{
		"in sync":             {runs, 0, askInSync, true},
		"just told":           {changed(func(o *Observation) { o.ConfigRevision = "c1" }), 0, askFirst, false},
		"told a second ago":   {changed(func(o *Observation) { o.ConfigRevision = "c1" }), time.Second, time.Second / 2, false},
		"told an hour ago":    {changed(func(o *Observation) { o.ConfigRevision = "c1" }), time.Hour, askAtMost, false},
		"an old leaf":         {changed(func(o *Observation) { o.LeafSerial = "5d" }), 0, askFirst, false},
		"an old credential":   {changed(func(o *Observation) { o.SecretVersions["sds.a.version_text"] = "v1" }), 0, askFirst, false},
		"no credential yet":   {changed(func(o *Observation) { delete(o.SecretVersions, "sds.a.version_text") }), 0, askFirst, false},
		"unreachable":         {changed(func(o *Observation) { o.Unreachable = "timeout" }), 0, askFirst, false},
		"nothing known of it": {Observation{}, 0, askFirst, false},
	}
	for name, tt := range tests {
		p, _, clock := podController()
		state := podState{Observation: tt.seen, For: "r1", bumped: clock.now.Add(-tt.waited)}
		after := p.judge(want, &state)
		if after != tt.after || (state.For == "r2") != tt.inSync || !tt.inSync && state.For != "" {
			t.Errorf("%s: again after %v, for %q; want %v, in sync %v", name, after, state.For, tt.after, tt.inSync)
		}
	}
}

// TestProbeIsNoPod: a probe's proxy is neither told of changes nor asked.
func TestProbeIsNoPod(t *testing.T) {
	pod := named("b", probe)
	if inject.IsInjected(pod) {
		t.Error("the controllers take it for one of the policy's pods")
	}
	slim, err := slimPod(pod)
	if err != nil {
		t.Fatal(err)
	}
	if !inject.CountsAsProbe(slim.(*corev1.Pod)) {
		t.Error("it is no probe in the cache")
	}
}

func TestSlimPod(t *testing.T) {
	pod := runningPod("r1")
	pod.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = "long"
	pod.Spec.Containers = []corev1.Container{{Name: "agent", Image: "agent:1"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "x"}}
	pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	slim, err := slimPod(pod)
	if err != nil {
		t.Fatal(err)
	}
	got := slim.(*corev1.Pod)
	if len(got.Spec.Containers)+len(got.Spec.Volumes)+len(got.ManagedFields) > 0 || len(got.Annotations) != 1 {
		t.Errorf("not slim: %+v", got)
	}
	// What the controllers ask of a pod has to be the same of the slim one.
	if !inject.IsInjected(got) || !proxyStarted(got) || !alive(got) || targetOfPod(got) != targetOfPod(pod) || statusPort(got) != statusPort(pod) {
		t.Errorf("something is missing: %+v", got)
	}
}
