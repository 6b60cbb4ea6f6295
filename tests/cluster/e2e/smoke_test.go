package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

// TestCluster shows that the cluster itself is one on which the other tests mean something: without netproxy everything
// goes through, and the world sees it.
func TestCluster(t *testing.T) {
	e := newEnv(t, 2*time.Minute, "tool")
	v4, v6 := e.name(t, "smoke.example.net")
	e.apply(t, toolPod("probe", "sleep")+`---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}], ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]}
---
`+toolPod("server", "http", ":8080", "hello"))
	e.ready(t, "probe")
	e.ready(t, "server")

	t.Run("names and addresses", func(t *testing.T) {
		for _, url := range []string{"http://smoke.example.net/", fmt.Sprintf("http://%s/", v4), fmt.Sprintf("http://[%s]/", v6)} {
			if out := e.run(t, "probe", "/tool", "get", url); !strings.Contains(out.Stdout, "ok status: 200") {
				t.Errorf("%s: %s", url, out)
			}
		}
	})
	t.Run("service", func(t *testing.T) {
		service, err := e.Client.CoreV1().Services(e.ns).Get(e.ctx, "server", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hosts := []string{"server", "server." + e.ns + ".svc.cluster.local", service.Spec.ClusterIPs[0], "[" + service.Spec.ClusterIPs[1] + "]"}
		for _, host := range hosts {
			e.eventually(t, 10*time.Second, func() string {
				out := e.run(t, "probe", "/tool", "get", "http://"+host+"/")
				if strings.Contains(out.Stdout, "text=hello") {
					return ""
				}
				return host + ": " + out.String()
			})
		}
	})
	t.Run("escapes work", func(t *testing.T) { checkOpen(t, e) })
}

// checkOpen is the positive control of the tests that nothing escapes: here everything does, and is seen.
func checkOpen(t *testing.T, e *env) {
	for name, escape := range escapes() {
		mark := e.mark(t)
		e.run(t, "probe", append([]string{"/tool"}, escape.command...)...)
		e.eventually(t, 5*time.Second, func() string {
			if len(e.since(t, mark, escape.seen)) > 0 {
				return ""
			}
			return name + " was not seen by the world"
		})
	}
}

// escape is a way out that is not a TCP connection which the proxy sees.
type escape struct {
	command []string
	seen    func(control.Entry) bool
}

// escapes send a text that the world can recognise to addresses that nothing else uses.
func escapes() map[string]escape {
	packet := func(address string) func(control.Entry) bool {
		return func(en control.Entry) bool { return en.Kind == lab.Packet && en.To.Addr().String() == address }
	}
	return map[string]escape{
		"udp":           {[]string{"udp", "203.0.113.71:5000", "escape"}, packet("203.0.113.71")},
		"quic":          {[]string{"udp", "203.0.113.72:443", "escape"}, packet("203.0.113.72")},
		"udp over IPv6": {[]string{"udp", "[2001:db8:bad::73]:443", "escape"}, packet("2001:db8:bad::73")},
		"foreign DNS":   {[]string{"dns", "203.0.113.74:53", "escape.example.net."}, packet("203.0.113.74")},
		"icmp":          {[]string{"raw", "1", "203.0.113.75"}, packet("203.0.113.75")},
		"icmp on IPv6":  {[]string{"raw", "58", "2001:db8:bad::76"}, packet("2001:db8:bad::76")},
		"sctp":          {[]string{"raw", "132", "203.0.113.77"}, packet("203.0.113.77")},
		"packet socket": {[]string{"packet", "203.0.113.78", "5000", "escape"}, packet("203.0.113.78")},
	}
}

// TestClusterJob shows that a Job with a native sidecar ends.
func TestClusterJob(t *testing.T) {
	e := newEnv(t, time.Minute, "tool")
	e.apply(t, `
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      initContainers: [{name: sidecar, image: "netproxy.test/tool:1", imagePullPolicy: Never, restartPolicy: Always, args: [sleep]}]
      containers: [{name: app, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [exit]}]
`)
	e.completed(t, "job")
}

// completed waits until a Job has succeeded.
func (e *env) completed(t *testing.T, name string) {
	t.Helper()
	e.eventually(t, time.Minute, func() string {
		job, err := e.Client.BatchV1().Jobs(e.ns).Get(e.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if job.Status.Succeeded > 0 {
			return ""
		}
		return fmt.Sprintf("job %s: %+v", name, job.Status)
	})
}

// TestClients shows that every client image works on its own and has Debian's public roots.
func TestClients(t *testing.T) {
	e := newEnv(t, 5*time.Minute, clientImages()...)
	v4, _ := e.name(t, "clients.example.net")
	for _, image := range clientImages() {
		e.apply(t, clientPod(image))
	}
	commands := map[string]string{
		"curl":      "curl -sS http://clients.example.net/",
		"privateca": "curl -sS http://clients.example.net/ && grep -c BEGIN /usr/share/ca-certificates/corporation/corporation.crt",
		"python":    "python3 /client/client.py http://clients.example.net/",
		"node":      "node /client/client.js http://clients.example.net/",
		"java":      javaHome + "/bin/java -version",
		"git":       "git ls-remote http://" + v4.String() + "/status/404 || git --version",
	}
	for _, image := range clientImages() {
		t.Run(image, func(t *testing.T) {
			e.ready(t, image)
			command, ok := commands[image]
			if !ok {
				t.Fatal("no command for this image")
			}
			if out := e.run(t, image, "sh", "-c", command); out.Code != 0 {
				t.Errorf("%s: %s", command, out)
			}
			if out := e.run(t, image, "sh", "-c", "test $(grep -c BEGIN /etc/ssl/certs/ca-certificates.crt) -gt 100"); out.Code != 0 {
				t.Errorf("no public roots: %s", out)
			}
		})
	}
}
