package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/tests/cluster"
)

// replicas is what the manifests install.
const replicas = 2

const outagePolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules: [{name: api, action: Allow, hosts: [api.outage.example], http: [{methods: [GET]}]}]
  mitm: {domains: [api.outage.example]}
`

const outageURL = "https://api.outage.example/v1/x"

// follower is a pod that sends requests all the time. Its log has a line for each change of what it gets.
func follower(name, url string, seconds int) string {
	return strings.Replace(toolPod(name, "follow", url, strconv.Itoa(seconds)), "labels: {app: "+name+"}", "labels: {app: agent}", 1)
}

// newOutage has a policy and a pod that sends requests under it.
func newOutage(t *testing.T, seconds int) *env {
	t.Helper()
	e := newProtected(t, 5*time.Minute, "tool")
	e.name(t, "api.outage.example")
	e.protect(t, outagePolicy)
	e.apply(t, follower("agent", outageURL, seconds))
	e.ready(t, "agent")
	return e
}

// seen is what the pod got so far.
func (e *env) seen(t *testing.T, pod string) []observation {
	t.Helper()
	log, err := e.Logs(e.ctx, e.ns, pod, "app")
	if err != nil {
		t.Fatal(err)
	}
	return observations(t, log)
}

// unharmed fails the test if one of the requests got anything but what is allowed, in this order, or if a container was started again.
func (e *env) unharmed(t *testing.T, pod string, statuses ...string) {
	t.Helper()
	var got []string
	for _, o := range e.seen(t, pod) {
		if len(got) == 0 || got[len(got)-1] != o.status {
			got = append(got, o.status)
		}
	}
	if strings.Join(got, " ") != strings.Join(statuses, " ") {
		t.Errorf("the pod got %v, want %v: %v", got, statuses, e.seen(t, pod))
	}
	p, err := e.Client.CoreV1().Pods(e.ns).Get(e.ctx, pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(p.Status.ContainerStatuses, p.Status.InitContainerStatuses...) {
		if s.RestartCount > 0 {
			t.Errorf("container %s was restarted", s.Name)
		}
	}
}

// arrived waits until requests get a status. It says how long that took.
func (e *env) arrived(t *testing.T, limit time.Duration, pod, status string) time.Duration {
	t.Helper()
	began := time.Now()
	e.eventually(t, limit, func() string {
		list := e.seen(t, pod)
		if len(list) > 0 && list[len(list)-1].status == status {
			return ""
		}
		return fmt.Sprintf("want %s: %v", status, list)
	})
	return time.Since(began).Truncate(time.Millisecond)
}

// edit tries until the API server takes it: nobody may be there to judge policies for a moment.
func (e *env) edit(t *testing.T, limit time.Duration, methods string) {
	t.Helper()
	patch := replace("/spec/egress/rules/0/http/0/methods", []string{methods})
	resource := e.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("egresspolicies")).Namespace(e.ns)
	e.eventually(t, limit, func() string {
		if _, err := resource.Patch(e.ctx, "agent", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestWebhookDown: selected pods wait, others start, running ones work, and nobody gets around it.
func TestWebhookDown(t *testing.T) {
	e := newOutage(t, 240)
	open := newEnv(t, 4*time.Minute)
	t.Cleanup(func() { e.scaleUp(t) })
	if err := e.ScaleWebhook(e.ctx, 0); err != nil {
		t.Fatal(err)
	}
	e.apply(t, waitingDeployment)
	t.Run("other namespaces start", func(t *testing.T) {
		open.apply(t, strings.Replace(toolPod("agent", "sleep"), "metadata: {", "metadata: {namespace: kube-system, ", 1))
		t.Cleanup(func() {
			_ = e.Client.CoreV1().Pods("kube-system").Delete(context.Background(), "agent", metav1.DeleteOptions{})
		})
		open.apply(t, toolPod("agent", "sleep"))
		open.ready(t, "agent")
		if _, err := e.WaitPod(e.ctx, "kube-system", "agent", cluster.Ready); err != nil {
			t.Error(err)
		}
	})
	t.Run("selected pods wait and say why", func(t *testing.T) {
		e.eventually(t, 20*time.Second, func() string { return e.failedCreate("waiting") })
		if pods := e.selected(t, "app=agent,who=waiting"); len(pods) > 0 {
			t.Errorf("a pod was created: %s", pods[0].Name)
		}
	})
	t.Run("label stays", func(t *testing.T) { keepLabel(t, e) })
	e.scaleUp(t)
	began := time.Now()
	e.eventually(t, 90*time.Second, func() string {
		pods := e.selected(t, "app=agent,who=waiting")
		if len(pods) == 1 && cluster.Ready(&pods[0]) && pods[0].Labels[v1alpha1.LabelPolicy] == "agent" {
			return ""
		}
		return fmt.Sprintf("%d pods wait; %s", len(pods), e.failedCreate("waiting"))
	})
	t.Logf("the waiting pod was ready %s after netproxy", time.Since(began).Truncate(time.Second))
	e.unharmed(t, "agent", "200")
}

const waitingDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: waiting}
spec:
  selector: {matchLabels: {who: waiting}}
  template:
    metadata: {labels: {app: agent, who: waiting}}
    spec:
      containers: [{name: app, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [sleep]}]
`

func (e *env) scaleUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := e.ScaleWebhook(ctx, replicas); err != nil {
		t.Error(err)
	}
}

func (e *env) selected(t *testing.T, selector string) []corev1.Pod {
	t.Helper()
	list, err := e.Client.CoreV1().Pods(e.ns).List(e.ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// failedCreate is empty if an event says that netproxy's webhook does not answer.
func (e *env) failedCreate(deployment string) string {
	list, err := e.Client.CoreV1().Events(e.ns).List(e.ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return err.Error()
	}
	for _, event := range list.Items {
		if strings.HasPrefix(event.InvolvedObject.Name, deployment+"-") && strings.Contains(event.Message, "pods.netproxy.dev") {
			return ""
		}
	}
	return fmt.Sprintf("no event of a ReplicaSet of %s names the webhook pods.netproxy.dev among %d", deployment, len(list.Items))
}

// keepLabel tries to turn admission off, even as an administrator.
func keepLabel(t *testing.T, e *env) {
	for name, value := range map[string]string{"removed": "null", "changed": `"false"`} {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1alpha1.LabelEnabled, value)
		_, err := e.Client.CoreV1().Namespaces().Patch(e.ctx, e.ns, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err == nil || !strings.Contains(err.Error(), "Delete the policies instead") {
			t.Errorf("%s: want a refusal that says what to do, got %v", name, err)
		}
	}
}

// TestAPIServerRestarts kills the API server: requests go on, what is written stays, and the next changes arrive.
func TestAPIServerRestarts(t *testing.T) {
	e := newOutage(t, 240)
	ca := e.caSerial(t)
	began := time.Now()
	if err := e.RestartAPIServer(e.ctx, root); err != nil {
		t.Fatal(err)
	}
	t.Logf("the API server was gone for %s", time.Since(began).Truncate(time.Millisecond))
	e.edit(t, time.Minute, "POST")
	t.Logf("an edit arrived after %s", e.arrived(t, time.Minute, "agent", "403"))
	if err := e.Client.CoreV1().Secrets(e.ns).Delete(e.ctx, v1alpha1.SecretName(v1alpha1.KindEgressPolicy, "agent"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, 30*time.Second, func() string {
		_, err := e.Client.CoreV1().Secrets(e.ns).Get(e.ctx, v1alpha1.SecretName(v1alpha1.KindEgressPolicy, "agent"), metav1.GetOptions{})
		return text(err)
	})
	e.edit(t, time.Minute, "GET")
	t.Logf("a second edit arrived after %s", e.arrived(t, time.Minute, "agent", "200"))
	if now := e.caSerial(t); now != ca {
		t.Errorf("the CA was replaced: %s, then %s", ca, now)
	}
	e.unharmed(t, "agent", "200", "403", "200")
	e.settled(t)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (e *env) caSerial(t *testing.T) string {
	t.Helper()
	secret, err := e.Client.CoreV1().Secrets(cluster.System).Get(e.ctx, v1alpha1.CASecretName(e.ns, "agent"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := mitm.ParseRotation(secret.Data)
	if err != nil {
		t.Fatal(err)
	}
	return state.Current.Certificate().SerialNumber.Text(16)
}

// settled waits until the policy is ready.
func (e *env) settled(t *testing.T) {
	t.Helper()
	e.eventually(t, time.Minute, func() string {
		return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionReady, v1alpha1.ReasonInSync, "")
	})
}

// TestLeaderKilled takes the replica away that runs the controllers, just after an edit and just before one. The other has to go on.
func TestLeaderKilled(t *testing.T) {
	e := newOutage(t, 300)
	leader := e.leader(t, "")
	e.edit(t, time.Second, "POST")
	e.deleteNow(t, leader)
	t.Logf("edited, then deleted: arrived after %s", e.arrived(t, 90*time.Second, "agent", "403"))

	leader = e.leader(t, leader)
	e.deleteNow(t, leader)
	e.edit(t, 90*time.Second, "GET")
	t.Logf("deleted, then edited: arrived after %s", e.arrived(t, 90*time.Second, "agent", "200"))

	// A crash does not give the lease back.
	leader = e.leader(t, leader)
	pod, err := e.Client.CoreV1().Pods(cluster.System).Get(e.ctx, leader, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.KillProcesses(pod, "netproxy-webhook"); err != nil {
		t.Fatal(err)
	}
	e.edit(t, 90*time.Second, "POST")
	t.Logf("killed, then edited: arrived after %s", e.arrived(t, 90*time.Second, "agent", "403"))
	if err := e.WaitDeployment(e.ctx, cluster.System, cluster.Webhook); err != nil {
		t.Fatal(err)
	}
	e.unharmed(t, "agent", "200", "403", "200", "403")
	e.settled(t)
}

// leader waits until both replicas are there and one of them, not the one before, leads.
func (e *env) leader(t *testing.T, before string) string {
	t.Helper()
	if err := e.WaitDeployment(e.ctx, cluster.System, cluster.Webhook); err != nil {
		t.Fatal(err)
	}
	leader := ""
	e.eventually(t, time.Minute, func() string {
		var err error
		if leader, err = e.Leader(e.ctx); err != nil || leader == "" || leader == before {
			return fmt.Sprintf("leader %q, %v", leader, err)
		}
		return ""
	})
	return leader
}

func (e *env) deleteNow(t *testing.T, pod string) {
	t.Helper()
	err := e.Client.CoreV1().Pods(cluster.System).Delete(e.ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil {
		t.Fatal(err)
	}
}
