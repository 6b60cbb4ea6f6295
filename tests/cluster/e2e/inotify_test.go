package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/webhook/inject"
)

const (
	// crowd is how many pods share the node. With one user for all of them no more than a third may fit.
	crowd        = 12
	instancesMax = "/proc/sys/fs/inotify/max_user_instances"
	// watched is how many instances a proxy uses besides one for each credential: at least, as the kernel counts.
	watched = 4
	// spare is what kubelet, containerd and whatever else runs as root on the machine is left besides what it has.
	spare = 64
)

// TestManyPods runs more proxies than one user's inotify instances are enough for. Each has a user of its own, so none runs out.
func TestManyPods(t *testing.T) {
	credentials := scarce(t)
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "d0.crowd.example")
	e.protect(t, crowdPolicy("crowd", credentials, ""))
	var names []string
	for i := range crowd {
		names = append(names, fmt.Sprintf("crowd-%d", i))
	}
	for _, name := range names {
		e.apply(t, labelled(toolPod(name, "sleep"), name, "crowd"))
	}
	users := map[int64]bool{}
	for _, name := range names {
		pod := e.ready(t, name)
		users[*inject.ProxyOf(pod).SecurityContext.RunAsUser] = true
		if n := proxyRestarts(pod); n > 0 {
			t.Errorf("the proxy of %s was started %d times", name, n+1)
		}
	}
	if len(users) != crowd {
		t.Errorf("%d pods have %d users", crowd, len(users))
	}
	each(names, func(name string) {
		if out := e.run(t, name, "/tool", "get", "https://d0.crowd.example/"); !strings.HasPrefix(out.Stdout, "ok status: 200") {
			t.Errorf("%s: %s", name, out)
		}
	})
	t.Run("one user is not enough", func(t *testing.T) { oneUser(t, e, credentials) })
}

// oneUser is the positive control: the same pods with a user in common.
func oneUser(t *testing.T, e *env, credentials int) {
	e.protect(t, crowdPolicy("same", credentials, "proxy: {uid: 31337}"))
	var names []string
	for i := range crowd {
		names = append(names, fmt.Sprintf("same-%d", i))
	}
	for _, name := range names {
		e.apply(t, labelled(toolPod(name, "sleep"), name, "same"))
	}
	e.eventually(t, 90*time.Second, func() string {
		for _, name := range names {
			if pod, err := e.WaitPod(e.ctx, e.ns, name, func(*corev1.Pod) bool { return true }); err == nil && proxyRestarts(pod) > 0 {
				words := e.lastWords(name)
				t.Logf("%s was started %d times: %s", name, proxyRestarts(pod)+1, words)
				if strings.Contains(words, "inotify") {
					return ""
				}
				return "a proxy ended for another reason than inotify: " + words
			}
		}
		return "all proxies with one user start: the limit means nothing here"
	})
}

// lastWords is why a proxy ended. The kubelet may have thrown the log away just now: the next restart has another one.
func (e *env) lastWords(pod string) string {
	log, err := e.Kubectl(e.ctx, "-n", e.ns, "logs", pod, "-c", "netproxy", "--previous")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "inotify") {
			return line
		}
	}
	return string(log)
}

func labelled(pod, name, app string) string {
	return strings.Replace(pod, "labels: {app: "+name+"}", "labels: {app: "+app+"}", 1)
}

func proxyRestarts(pod *corev1.Pod) int32 {
	for _, s := range pod.Status.InitContainerStatuses {
		if s.Name == "netproxy" {
			return s.RestartCount
		}
	}
	return 0
}

// perDomain is how many headers a policy can inject for one domain.
const perDomain = 16

// crowdPolicy injects many credentials: the proxy watches a file for each.
func crowdPolicy(app string, credentials int, more string) string {
	var keys, mutations strings.Builder
	domains := []string{"d0.crowd.example"}
	for i := range credentials {
		domain := fmt.Sprintf("d%d.crowd.example", i/perDomain)
		if i%perDomain == 0 {
			fmt.Fprintf(&mutations, "\n    - domain: %s\n      headers:", domain)
			domains = append(domains, domain)
		}
		fmt.Fprintf(&keys, "key-%d: value-%d, ", i, i)
		fmt.Fprintf(&mutations, "\n      - {name: X-Key-%d, secretRef: {name: keys, key: key-%d}}", i, i)
	}
	slices.Sort(domains)
	return fmt.Sprintf(crowdText, keys.String(), app, strings.Join(slices.Compact(domains), ", "), mutations.String(), more)
}

const crowdText = `
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {%[1]s}
---
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: %[2]s}
spec:
  podSelector: {matchLabels: {app: %[2]s}}
  egress:
    defaultAction: Deny
    rules: [{name: api, action: Allow, hosts: ["*.crowd.example"]}]
  mitm:
    domains: [%[3]s]
    headerMutations:%[4]s
  %[5]s
`

// scarce returns how many credentials make a third of the pods use up one user's instances. A limit too high for that is lowered, and restored
// when the test ends, however it does.
func scarce(t *testing.T) (credentials int) {
	t.Helper()
	if os.Getenv(cluster.Env) == "" {
		t.Skip(cluster.ErrNone)
	}
	text, err := os.ReadFile(instancesMax)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if lower := rootInstances(t) + spare; limit > max(lower, 128) {
		restore(t, strconv.Itoa(limit))
		limit = max(lower, 128)
		if err := os.WriteFile(instancesMax, []byte(strconv.Itoa(limit)), 0); err != nil {
			t.Skipf("NOT TESTED: fs.inotify.max_user_instances cannot be lowered: %v", err)
		}
	}
	credentials = max(0, limit*3/crowd-watched)
	if credentials > v1alpha1.MaxCredentials {
		t.Skipf("NOT TESTED: root uses so many inotify instances that the limit has to stay at %d, which is enough for %d proxies", limit, crowd)
	}
	t.Logf("%d instances per user, at least %d per proxy, %d proxies", limit, credentials+watched, crowd)
	return credentials
}

// rootInstances counts root's inotify instances on this machine. Root has the same limit as every user.
func rootInstances(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		info, err := os.Stat(filepath.Dir(filepath.Dir(file)))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			continue
		}
		if target, _ := os.Readlink(file); target == "anon_inode:inotify" {
			n++
		}
	}
	return n
}

// restore writes the value back when this process ends or says so, even if it is killed.
func restore(t *testing.T, value string) {
	t.Helper()
	guard := exec.Command("sh", "-c", "cat; echo "+value+" > "+instancesMax)
	in, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := guard.Wait(); err != nil {
			t.Errorf("restore fs.inotify.max_user_instances = %s: %v", value, err)
		}
	})
}
