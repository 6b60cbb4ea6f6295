package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCheckNodes looks into a real node, leaves no pod behind, and says so where it cannot.
func TestCheckNodes(t *testing.T) {
	e := newProtected(t, 3*time.Minute)
	p := newPlugin(t, e)
	good := []string{"✓ OK       1 nodes redirect connections and have enough inotify instances\n"}
	p.want(t, 0, "", good, "check", "--nodes")
	p.want(t, 0, "", good, "check", "--pre", "--nodes", "--set", "images.init=netproxy.test/init:1")
	p.want(t, 0, "", []string{"were not looked into: add --nodes"}, "check")
	if a := p.do(t, "", "check", "--nodes", "-n", "netproxy-system"); a.code != 0 || !strings.Contains(a.out, "WARNING  NP026  node node could not be looked into") || !strings.Contains(a.out, "violates PodSecurity") {
		t.Errorf("a namespace that forbids it: %d\n%s%s", a.code, a.out, a.err)
	}
	p.want(t, 0, "", []string{"WARNING  NP026", "netproxy.test/none:1"}, "check", "--nodes", "--set", "images.init=netproxy.test/none:1", "--timeout", "20s")
	e.noNodePods(t)
	t.Run("interrupted", func(t *testing.T) { interruptCheck(t, p) })
}

func (e *env) nodePods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=netproxy-check"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// interruptCheck ends it with Ctrl-C while its pod is there.
func interruptCheck(t *testing.T, p *plugin) {
	cmd := exec.CommandContext(p.ctx, p.binary, "check", "--nodes", "--set", "images.init=netproxy.test/none:1", "-n", p.ns)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(p.State, "kubeconfig"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.eventually(t, 20*time.Second, func() string {
		if len(p.nodePods(t)) == 0 {
			return "no pod was made"
		}
		return ""
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ends well although it was interrupted")
	}
	p.noNodePods(t)
}

// noNodePods: the kubelet needs a moment for what was deleted.
func (e *env) noNodePods(t *testing.T) {
	t.Helper()
	e.eventually(t, 15*time.Second, func() string {
		var left []string
		for _, pod := range e.nodePods(t) {
			left = append(left, fmt.Sprintf("%s (deleted at %s)", pod.Name, pod.DeletionTimestamp))
		}
		return strings.Join(left, ", ")
	})
}
