package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refusedPods are pods that would get around netproxy, with the field that the refusal has to name. %s is more of the pod's
// spec, or of its container.
func refusedPods() map[string]struct{ spec, container, field string } {
	return map[string]struct{ spec, container, field string }{
		"host network":         {"hostNetwork: true", "", "spec.hostNetwork"},
		"host processes":       {"hostPID: true", "", "spec.hostPID"},
		"shared processes":     {"shareProcessNamespace: true", "", "spec.shareProcessNamespace"},
		"files of the kubelet": {"volumes: [{name: k, hostPath: {path: /var/lib/kubelet/pods}}]", "", "spec.volumes[0].hostPath.path"},
		"netproxy's Secret":    {"volumes: [{name: s, secret: {secretName: netproxy-egp-refusing}}]", "", "spec.volumes[0].secret.secretName"},
		"Secret as variable":   {"", "env: [{name: A, valueFrom: {secretKeyRef: {name: netproxy-egp-refusing, key: leaf.key}}}]", "env[0]"},
		"own resolver":         {"dnsPolicy: None\n  dnsConfig: {nameservers: [203.0.113.9]}", "", "spec.dnsConfig"},
		"the proxy's user":     {"securityContext: {runAsUser: 1337}", "", "spec.securityContext.runAsUser"},
		"its container's user": {"", "securityContext: {runAsUser: 1337}", "securityContext.runAsUser"},
		"privileged":           {"", "securityContext: {privileged: true}", "securityContext.privileged"},
		"NET_ADMIN":            {"", "securityContext: {capabilities: {add: [NET_ADMIN]}}", "securityContext.capabilities.add"},
		"NET_RAW":              {"", "securityContext: {capabilities: {add: [NET_RAW]}}", "securityContext.capabilities.add"},
		"SYS_PTRACE":           {"", "securityContext: {capabilities: {add: [SYS_PTRACE]}}", "securityContext.capabilities.add"},
		"SETUID":               {"", "securityContext: {capabilities: {add: [SETUID]}}", "securityContext.capabilities.add"},
		"escalation":           {"", "securityContext: {allowPrivilegeEscalation: true}", "securityContext.allowPrivilegeEscalation"},
		"the redirect port":    {"", "ports: [{containerPort: 15001}]", "ports[0].containerPort"},
		"a forged sidecar": {"initContainers: [{name: netproxy, image: 'netproxy.test/tool:1', restartPolicy: Always, args: [sleep]}]", "",
			"spec.initContainers[0].name"},
	}
}

const refusingPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: refusing}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: open, action: Allow, hosts: [open.refuse.example.net], ports: [{port: 443}]}]
  mitm: {domains: [open.refuse.example.net]}
  proxy: {uid: 1337}
`

func refusedPod(spec, container string) string {
	return strings.TrimRight(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: refused, labels: {app: agent}}
spec:
  %s
  containers:
  - name: app
    image: netproxy.test/tool:1
    args: [sleep]
    %s
`, spec, container), " \n")
}

// TestRefusals shows that a pod which would undo the capture is refused with the field's name, and that the same pod without
// it, or out of the policy's reach, is not.
func TestRefusals(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "tool")
	e.name(t, "open.refuse.example.net")
	e.protect(t, refusingPolicy)
	for name, bad := range refusedPods() {
		t.Run(name, func(t *testing.T) {
			err := e.ApplyText(e.ctx, e.ns, refusedPod(bad.spec, bad.container))
			if err == nil {
				t.Fatal("the pod was admitted")
			}
			if !strings.Contains(err.Error(), bad.field) {
				t.Errorf("the refusal does not name %s: %v", bad.field, err)
			}
			other := strings.ReplaceAll(refusedPod(bad.spec, bad.container), "app: agent", "app: other")
			if err := e.ApplyText(e.ctx, e.ns, other+"\n"); err != nil && !strings.Contains(name, "Secret") {
				t.Errorf("a pod that the policy does not select is refused: %v", err)
			}
			_ = e.Client.CoreV1().Pods(e.ns).Delete(e.ctx, "refused", metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
			e.gone(t, "refused")
		})
	}
	e.apply(t, toolPod("agent", "sleep"))
	e.ready(t, "agent")
	t.Run("changes of a running pod", func(t *testing.T) { tryChanges(t, e) })
	t.Run("ephemeral containers", func(t *testing.T) { tryEphemeral(t, e) })
	t.Run("namespace's label", func(t *testing.T) {
		// Refused, or put back at once: kubectl says "unlabeled" in both cases.
		out, _ := e.Kubectl(e.ctx, "label", "namespace", e.ns, "netproxy.dev/enabled-")
		namespace, err := e.Client.CoreV1().Namespaces().Get(e.ctx, e.ns, metav1.GetOptions{})
		if err != nil || namespace.Labels["netproxy.dev/enabled"] != "true" {
			t.Errorf("the label that turns admission on could be removed: %s, %v, %v", out, namespace.Labels, err)
		}
	})
}

func (e *env) gone(t *testing.T, pod string) {
	t.Helper()
	e.eventually(t, 30*time.Second, func() string {
		if _, err := e.Client.CoreV1().Pods(e.ns).Get(e.ctx, pod, metav1.GetOptions{}); err == nil {
			return pod + " is still there"
		}
		return ""
	})
}

// tryChanges: what was injected stays, whoever changes the pod.
func tryChanges(t *testing.T, e *env) {
	for name, patch := range map[string]string{
		"the policy's label": `{"metadata":{"labels":{"netproxy.dev/policy":null}}}`,
		"another policy":     `{"metadata":{"labels":{"netproxy.dev/policy":"other"}}}`,
		"the proxy's image":  `{"spec":{"initContainers":[{"name":"netproxy","image":"netproxy.test/tool:1"}]}}`,
	} {
		if _, err := e.Client.CoreV1().Pods(e.ns).Patch(e.ctx, "agent", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err == nil {
			t.Errorf("%s could be changed", name)
		}
	}
}

// tryEphemeral: a harmless ephemeral container is hardened and filtered; the others are refused.
func tryEphemeral(t *testing.T, e *env) {
	add := func(name, more string) error {
		patch := fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":%q,"image":"netproxy.test/tool:1","imagePullPolicy":"Never","args":["packet","203.0.113.91","5000","escape"]%s}]}}`, name, more)
		_, err := e.Client.CoreV1().Pods(e.ns).Patch(e.ctx, "agent", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "ephemeralcontainers")
		return err
	}
	for name, more := range map[string]string{
		"privileged": `,"securityContext":{"privileged":true}`,
		"net-admin":  `,"securityContext":{"capabilities":{"add":["NET_ADMIN"]}}`,
		"proxy-user": `,"securityContext":{"runAsUser":1337}`,
		"target":     `,"targetContainerName":"netproxy"`,
	} {
		if err := add(name, more); err == nil {
			t.Errorf("the ephemeral container %q was admitted", name)
		}
	}
	if err := add("harmless", ""); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, 20*time.Second, func() string {
		log, err := e.Logs(e.ctx, e.ns, "agent", "harmless")
		if err != nil || !strings.Contains(log, "packet socket: operation not permitted") {
			return fmt.Sprintf("the ephemeral container could open a packet socket, or did not run: %s %v", log, err)
		}
		return ""
	})
}
