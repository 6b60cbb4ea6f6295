package plugin

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/webhook/inject"
)

// expiresSoon is when a certificate should have been replaced already: leaves are, at two thirds of 90 days.
const expiresSoon = 25 * 24 * time.Hour

// webhooks looks at how the API server is told to ask.
func (c *checker) webhooks(ctx context.Context) bool {
	good := true
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		found, err := c.mapper.Read(ctx, named("admissionregistration.k8s.io/v1", kind, "", setup.Name))
		switch {
		case apierrors.IsNotFound(err):
			good = false
			c.problem("NP006", severityError, hintReinstall, "there is no %s %s: pods start without a proxy", kind, setup.Name)
		case err != nil:
			good = false
			c.unreadable(kind+" "+setup.Name, err)
		default:
			c.asked = c.asked || strings.HasPrefix(kind, "Validating")
			good = c.webhook(kind, found) && good
		}
	}
	if good {
		c.ok("the API server asks the webhook and fails closed")
	}
	return true
}

func (c *checker) webhook(kind string, found *unstructured.Unstructured) bool {
	webhooks, _, _ := unstructured.NestedSlice(found.Object, "webhooks")
	before := len(c.findings)
	for _, w := range webhooks {
		entry, _ := w.(map[string]any)
		name, _, _ := unstructured.NestedString(entry, "name")
		// Namespaces must not depend on netproxy: that one may be ignored.
		if policy, _, _ := unstructured.NestedString(entry, "failurePolicy"); policy != "Fail" && name != "namespaces."+v1alpha1.Group {
			c.problem("NP007", severityError, hintReinstall, "%s %s has failurePolicy %s: pods start without a proxy when the webhook is away", kind, name, policy)
		}
		bundle, _, _ := unstructured.NestedString(entry, "clientConfig", "caBundle")
		switch expiry, err := bundleExpiry(bundle); {
		case err != nil:
			c.problem("NP008", severityError, "the webhook fills it in when it runs: kubectl logs -n "+c.options.Namespace+" deployment/"+setup.Deployment, "%s %s: its caBundle %v", kind, name, err)
		case expiry.Before(c.now()):
			c.problem("NP008", severityError, "the webhook renews it when it runs: kubectl logs -n "+c.options.Namespace+" deployment/"+setup.Deployment, "%s %s: its caBundle expired at %s", kind, name, expiry.Format(time.RFC3339))
		}
	}
	return len(c.findings) == before
}

// bundleExpiry is when the last certificate of a base64 PEM bundle ends.
func bundleExpiry(bundle string) (time.Time, error) {
	if bundle == "" {
		return time.Time{}, fmt.Errorf("is empty")
	}
	data, err := base64.StdEncoding.DecodeString(bundle)
	if err != nil {
		return time.Time{}, fmt.Errorf("is no base64")
	}
	var last time.Time
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
	}
	if last.IsZero() {
		return last, fmt.Errorf("has no certificate in it")
	}
	return last, nil
}

// answer lets the API server ask the webhook about a policy that is never stored.
func (c *checker) answer(ctx context.Context) bool {
	if !c.asked {
		return true
	}
	err := askWebhook(ctx, c.client)
	switch {
	case err == nil:
		c.ok("the webhook answers, and the API server trusts its certificate")
	case isSilent(err), ctx.Err() != nil:
		c.problem("NP009", severityError, "kubectl logs -n "+c.options.Namespace+" deployment/"+setup.Deployment+"; a NetworkPolicy or firewall between the API server and port 9443 is the usual reason",
			"the webhook does not answer: %s", firstLine(err.Error()))
	default:
		c.unreadable("the webhook", err)
	}
	return true
}

// askWebhook lets the API server ask about a policy that is never stored.
func askWebhook(ctx context.Context, client *cluster.Client) error {
	probe := &v1alpha1.EgressPolicy{ObjectMeta: metav1.ObjectMeta{Name: "netproxy-check", Namespace: client.Namespace}}
	probe.Spec.Egress.DefaultAction = v1alpha1.ActionDeny
	_, err := client.Apply(ctx, probe, cluster.ApplyOptions{DryRun: cluster.Validate})
	return err
}

// isSilent is the API server's error about a webhook that it cannot reach or does not trust.
func isSilent(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

// policies repeats what their status says.
func (c *checker) policies(ctx context.Context) bool {
	policies, err := findPolicies(ctx, c.client, nil, allScope)
	if err != nil {
		c.unreadable("the list of policies", err)
		return true
	}
	codes := map[string]string{
		v1alpha1.ConditionReady: "NP030", v1alpha1.ConditionDegraded: "NP033", v1alpha1.ConditionWeakened: "NP034", v1alpha1.ConditionConflict: "NP035",
		v1alpha1.ConditionPodSecurity: "NP032", v1alpha1.ConditionCovered: "NP037",
	}
	for _, p := range policies {
		if state, reason := readiness(p); state == stateUnknown {
			c.problem("NP030", severityWarning, "if it stays so, netproxy does not run: see the findings above", "%s: %s", policyTitle(p), reason)
		}
		for _, condition := range worthSaying(p) {
			c.problem(codes[condition.Type], gravity(&condition), "kubectl netproxy status "+shortName(p)+inNamespace(p), "%s: %s: %s", policyTitle(p), condition.Reason, condition.Message)
		}
		if leaf := p.PolicyStatus().LeafNotAfter; leaf != nil && leaf.Time.Before(c.now().Add(expiresSoon)) {
			c.problem("NP036", severityWarning, "kubectl netproxy rotate leaf "+shortName(p)+inNamespace(p), "%s: its certificate ends at %s and should have been renewed", policyTitle(p), leaf.UTC().Format(time.RFC3339))
		}
	}
	c.ok("%d policies were looked at", len(policies))
	return true
}

func inNamespace(p v1alpha1.Policy) string {
	if p.GetNamespace() == "" {
		return ""
	}
	return " -n " + p.GetNamespace()
}

// gravity: what goes by itself, or was chosen, is no error.
func gravity(c *metav1.Condition) severity {
	switch {
	case c.Type == v1alpha1.ConditionWeakened, c.Type == v1alpha1.ConditionConflict, c.Reason == v1alpha1.ReasonRollingOut:
		return severityWarning
	}
	return severityError
}

// pods asks every proxy.
func (c *checker) pods(ctx context.Context) bool {
	all, err := c.client.Pods(ctx, "", v1alpha1.LabelPolicy)
	if err != nil {
		c.unreadable("the list of pods", err)
		return true
	}
	pods := running(all)
	images := map[string]int{}
	good := 0
	for i, sidecar := range c.client.Sidecars(ctx, pods) {
		pod := &pods[i]
		if proxy := inject.ProxyOf(pod); proxy != nil {
			images[proxy.Image]++
		} else {
			c.problem("NP031", severityError, "delete it, so that it is made anew", "pod %s has the label of a policy and no proxy", podKey(pod))
			continue
		}
		if sidecar.Err != nil {
			c.problem("NP040", severityWarning, fmt.Sprintf("kubectl logs %s -n %s -c %s", pod.Name, pod.Namespace, inject.ProxyContainer), "%s", firstLine(sidecar.Err.Error()))
			continue
		}
		good++
	}
	c.proxyVersions(ctx, images)
	c.watches(pods)
	if good > 0 {
		c.ok("%d proxies answer", good)
	}
	return true
}

// proxyVersions: pods keep the Envoy that they were created with.
func (c *checker) proxyVersions(ctx context.Context, images map[string]int) {
	deployment, err := c.mapper.Read(ctx, named("apps/v1", "Deployment", c.options.Namespace, setup.Deployment))
	if err != nil {
		return
	}
	want := setup.ProxyImage(deployment)
	for image, count := range images {
		if want != "" && image != want {
			c.problem("NP020", severityWarning, "restart their workloads when it suits", "%d pods run the proxy %s, new ones get %s", count, image, want)
		}
	}
}

// watches: sidecars with the same fixed user share the node's limit of inotify instances.
func (c *checker) watches(pods []corev1.Pod) {
	const limit = 128 // fs.inotify.max_user_instances by default
	perNode := map[string]int{}
	for i := range pods {
		proxy := inject.ProxyOf(&pods[i])
		if proxy == nil || proxy.SecurityContext == nil || proxy.SecurityContext.RunAsUser == nil || *proxy.SecurityContext.RunAsUser >= inject.MinPodUID {
			continue
		}
		perNode[fmt.Sprintf("%s as user %d", pods[i].Spec.NodeName, *proxy.SecurityContext.RunAsUser)] += watchesOfProxy
	}
	var full []string
	for where, count := range perNode {
		if count > limit {
			full = append(full, where)
		}
	}
	slices.Sort(full)
	if len(full) > 0 {
		c.problem("NP022", severityWarning, "leave proxy.uid out of the policy, or raise fs.inotify.max_user_instances there", "so many proxies that inotify instances may run out: node %s", strings.Join(full, ", node "))
	}
}
