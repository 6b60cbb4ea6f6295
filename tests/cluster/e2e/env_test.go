// Package e2e tests netproxy on real pods, on the cluster of tests/cluster. "make e2e" runs it; without a cluster every
// test is skipped.
package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

const (
	root            = "../../.."
	namespacePrefix = "e2e-"
)

// env is a namespace of a test's own on the cluster.
type env struct {
	*cluster.Cluster
	ctx context.Context
	ns  string
}

// newEnv skips the test if there is no cluster. The namespace goes with the test.
func newEnv(t *testing.T, limit time.Duration, images ...string) *env {
	t.Helper()
	c, err := cluster.Open()
	if errors.Is(err, cluster.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	e := &env{Cluster: c, ctx: ctx, ns: namespacePrefix + strings.ToLower(rand.Text()[:8])}
	e.load(t, images...)
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Client.CoreV1().Namespaces().Delete(context.Background(), e.ns, metav1.DeleteOptions{})
	})
	return e
}

// loaded holds which images this run has loaded; one test at a time loads.
var loaded = struct {
	sync.Mutex
	names map[string]bool
}{names: map[string]bool{}}

func (e *env) load(t *testing.T, images ...string) {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	var missing []string
	for _, image := range images {
		if !loaded.names[image] {
			missing = append(missing, image)
		}
	}
	if len(missing) == 0 {
		return
	}
	if err := e.LoadImages(e.ctx, root, missing...); err != nil {
		t.Fatal(err)
	}
	for _, image := range missing {
		loaded.names[image] = true
	}
}

// apply writes manifests to the test's namespace.
func (e *env) apply(t *testing.T, text string) {
	t.Helper()
	if err := e.ApplyText(e.ctx, e.ns, text); err != nil {
		t.Fatal(err)
	}
}

// remove deletes the objects of a manifest.
func (e *env) remove(t *testing.T, objects ...*unstructured.Unstructured) {
	t.Helper()
	if err := e.Delete(e.ctx, e.ns, objects...); err != nil {
		t.Fatal(err)
	}
}

// ready waits for a pod.
func (e *env) ready(t *testing.T, pod string) *corev1.Pod {
	t.Helper()
	p, err := e.WaitPod(e.ctx, e.ns, pod, cluster.Ready)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs a command in a pod's first container of its own, which tests call "app".
func (e *env) run(t *testing.T, pod string, command ...string) cluster.Output {
	t.Helper()
	out, err := e.Exec(e.ctx, e.ns, pod, "app", command...)
	if err != nil {
		t.Error(err) // not Fatal: it may run beside others
	}
	return out
}

// mark is the present in the world's ledger.
func (e *env) mark(t *testing.T) uint64 {
	t.Helper()
	mark, err := e.World.Mark(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

// since is what the world saw after mark, as far as it matches.
func (e *env) since(t *testing.T, mark uint64, match func(control.Entry) bool) []control.Entry {
	t.Helper()
	all, err := e.World.Since(e.ctx, mark)
	if err != nil {
		t.Fatal(err)
	}
	var out []control.Entry
	for _, entry := range all {
		if match(entry) {
			out = append(out, entry)
		}
	}
	return out
}

// name gives a host its addresses in the world: one of IPv4 and one of IPv6.
func (e *env) name(t *testing.T, host string, addrs ...netip.Addr) (v4, v6 netip.Addr) {
	t.Helper()
	got, err := e.World.Add(e.ctx, host, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got {
		if a.Is4() {
			v4 = a
		} else {
			v6 = a
		}
	}
	return v4, v6
}

// eventually waits until check returns an empty text; otherwise the test fails with the last one.
func (e *env) eventually(t *testing.T, limit time.Duration, check func() string) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(end) || e.ctx.Err() != nil {
			t.Fatalf("after %s still: %s", limit, problem)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// each runs do for all of list at the same time.
func each[T any](list []T, do func(T)) {
	var group sync.WaitGroup
	for _, v := range list {
		group.Go(func() { do(v) })
	}
	group.Wait()
}

// podsOf are the names of the running pods with a label that are not on their way out.
func (e *env) podsOf(t *testing.T, selector string) []string {
	t.Helper()
	list, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		if p := &list.Items[i]; p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			out = append(out, p.Name)
		}
	}
	return out
}
