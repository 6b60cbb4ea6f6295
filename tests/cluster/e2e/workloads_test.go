package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

const workloadPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: workloads}
spec:
  podSelector: {}
  egress:
    defaultAction: Deny
    rules:
    - {name: open, action: Allow, hosts: [open.workload.example.net], ports: [{port: 80}, {port: 443}]}
  mitm:
    domains: [open.workload.example.net]
`

// podSpec is a container that asks for an open and a closed name, after an init container that did the same. It succeeds only
// if both got what they should; then: what the container does afterwards.
func podSpec(indent int, then string) string {
	const checks = "/tool get https://open.workload.example.net/NAME && ! /tool get http://closed.workload.example.net/NAME | grep -q 'status: 200'"
	container := func(name, then string) string {
		return fmt.Sprintf("- {name: %s, image: 'netproxy.test/tool:1', imagePullPolicy: Never, command: [sh, -c, %q]}\n",
			name, strings.ReplaceAll(checks, "NAME", name)+then)
	}
	text := "initContainers:\n" + container("before", "") + "containers:\n" + container("app", then)
	return strings.ReplaceAll("\n"+strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", indent)) + "\n"
}

// TestWorkloads runs every kind of workload under a policy: what runs for ever gets ready, what ends ends, and init
// containers are filtered like the others.
func TestWorkloads(t *testing.T) {
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "open.workload.example.net")
	e.name(t, "closed.workload.example.net")
	e.protect(t, workloadPolicy)
	const forEver, header = " && exec /tool sleep", "\nspec:\n  selector: {matchLabels: {app: %[1]s}}\n"
	template := func(name string) string {
		return "  template:\n    metadata: {labels: {app: " + name + "}}\n    spec:\n      terminationGracePeriodSeconds: 1" + podSpec(6, forEver)
	}
	mark := e.mark(t)
	for kind, more := range map[string]string{"Deployment": "  replicas: 2\n", "StatefulSet": "  serviceName: statefulset\n", "DaemonSet": ""} {
		name := strings.ToLower(kind)
		e.apply(t, "apiVersion: apps/v1\nkind: "+kind+"\nmetadata: {name: "+name+"}"+fmt.Sprintf(header, name)+more+template(name))
	}
	const once = "    spec:\n      restartPolicy: Never"
	e.apply(t, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec:\n  backoffLimit: 0\n  template:\n"+once+podSpec(6, ""))
	e.apply(t, "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: cron}\nspec:\n  schedule: '0 0 1 1 *'\n  jobTemplate:\n    spec:\n      backoffLimit: 0\n      template:\n        spec:\n          restartPolicy: Never"+podSpec(10, ""))
	if _, err := e.Kubectl(e.ctx, "-n", e.ns, "create", "job", "--from=cronjob/cron", "cron-now"); err != nil {
		t.Fatal(err)
	}
	e.completed(t, "job")
	e.completed(t, "cron-now")
	e.running(t, map[string]int{"deployment": 2, "statefulset": 1, "daemonset": 1})
	for _, container := range []string{"before", "app"} {
		seen := e.since(t, mark, func(en control.Entry) bool { return en.Kind == lab.HTTP && en.Path == "/"+container })
		if len(seen) != 6 {
			t.Errorf("%d requests of the containers %q arrived, want one of each of the 6 pods", len(seen), container)
		}
		for _, entry := range seen {
			if entry.Host != "open.workload.example.net" {
				t.Errorf("a request for %s got out", entry.Host)
			}
		}
	}
}

// running waits until workloads have so many ready pods, by the label app.
func (e *env) running(t *testing.T, want map[string]int) {
	t.Helper()
	e.eventually(t, 2*time.Minute, func() string {
		pods, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		ready := map[string]int{}
		for _, pod := range pods.Items {
			if podReady(&pod) {
				ready[pod.Labels["app"]]++
			}
		}
		for name, n := range want {
			if ready[name] != n {
				return fmt.Sprintf("%s has %d ready pods, want %d", name, ready[name], n)
			}
		}
		return ""
	})
}

func podReady(pod *corev1.Pod) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == "app" {
			return s.Ready
		}
	}
	return false
}
