package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	inotifyLimit   = "/proc/sys/fs/inotify/max_user_instances"
	lowLimit       = 40 // above what root's processes of the cluster have
	manyPods       = 10
	manyPodsPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: many}
spec:
  podSelector: {}
  egress:
    defaultAction: Deny
    rules: [{name: open, action: Allow, hosts: [open.many.example.net], ports: [{port: 443}]}]
  mitm:
    domains: [open.many.example.net]
    headerMutations:
    - domain: open.many.example.net
      headers:
      - {name: A, secretRef: {name: credentials, key: a}}
      - {name: B, secretRef: {name: credentials, key: b}}
      - {name: C, secretRef: {name: credentials, key: c}}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {a: "1", b: "2", c: "3"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: %d
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [sleep]}]
`
)

// TestManyPods starts more pods on the node than the inotify instances of one user would allow: each file that Envoy watches
// takes one, and Envoy aborts when there are none left. The limit is lowered for it.
func TestManyPods(t *testing.T) {
	e := newProtected(t, 4*time.Minute, "tool")
	lowerInotify(t)
	e.name(t, "open.many.example.net")
	e.protect(t, fmt.Sprintf(manyPodsPolicy, manyPods))
	e.running(t, map[string]int{"many": manyPods})
	perUser := envoyInotify(t)
	all := 0
	for _, n := range perUser {
		all += n
	}
	if len(perUser) < manyPods || all <= lowLimit {
		t.Fatalf("the proxies of the node have %d instances as %d users: the test proves nothing with a limit of %d", all, len(perUser), lowLimit)
	}
	pods, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		for _, s := range pod.Status.InitContainerStatuses {
			if s.RestartCount > 0 {
				t.Errorf("%s: container %s was restarted: %+v", pod.Name, s.Name, s.LastTerminationState)
			}
		}
		if out := e.run(t, pod.Name, "/tool", "get", "https://open.many.example.net/"); !strings.Contains(out.Stdout, "ok status: 200") {
			t.Errorf("%s: %s", pod.Name, out)
		}
	}
	t.Logf("%d inotify instances of %d users under a limit of %d per user", all, len(perUser), lowLimit)
}

// lowerInotify lowers the machine's limit until the test ends. What is open stays open.
func lowerInotify(t *testing.T) {
	t.Helper()
	before, err := os.ReadFile(inotifyLimit)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inotifyLimit, []byte(strconv.Itoa(lowLimit)), 0o644); err != nil {
		t.Skipf("NOT TESTED: the limit of inotify instances cannot be lowered: %v", err)
	}
	t.Cleanup(func() { _ = os.WriteFile(inotifyLimit, before, 0o644) })
}

// envoyInotify counts the inotify instances of the Envoys on this machine, by user.
func envoyInotify(t *testing.T) map[uint32]int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	out := map[uint32]int{}
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(comm)) != "envoy" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		uid := info.Sys().(*syscall.Stat_t).Uid
		descriptors, _ := filepath.Glob(filepath.Dir(name) + "/fd/*")
		for _, fd := range descriptors {
			if target, _ := os.Readlink(fd); target == "anon_inode:inotify" {
				out[uid]++
			}
		}
	}
	return out
}
