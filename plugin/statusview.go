package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

// policyView is one policy with everything below it.
type policyView struct {
	Policy   string       `json:"policy"`
	Ready    state        `json:"ready"`
	Reason   string       `json:"reason"`
	Message  string       `json:"message,omitempty"`
	Revision string       `json:"revision,omitempty"`
	Secrets  []secretView `json:"secrets"`
	Pods     []podView    `json:"pods"`
	policy   v1alpha1.Policy
}

// secretView is the policy's Secret in one namespace; never its data.
type secretView struct {
	Namespace      string `json:"namespace"`
	Name           string `json:"name"`
	Revision       string `json:"revision,omitempty"`
	ConfigRevision string `json:"configRevision,omitempty"`
	Problem        string `json:"problem,omitempty"`
}

// podState is what becomes of the policy in a pod.
type podState string

// The states.
const (
	podInSync      podState = "InSync"
	podBehind      podState = "Behind"
	podRejected    podState = "Rejected"
	podStarting    podState = "Starting"
	podUnreachable podState = "Unreachable"
	podUnprotected podState = "NoProxy"
	podOther       podState = "OtherPolicy"
)

// podView is one pod.
type podView struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Workload  string   `json:"workload"`
	State     podState `json:"state"`
	// Revision is the configuration that its Envoy runs.
	Revision string `json:"revision,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// LeafSerial and LeafNotAfter are of the certificate that it shows.
	LeafSerial   string     `json:"leafSerial,omitempty"`
	LeafNotAfter *time.Time `json:"leafNotAfter,omitempty"`
}

// viewer gathers views. Owners are asked for once.
type viewer struct {
	client *cluster.Client
	owners map[string]string
}

func newViewer(client *cluster.Client) *viewer { return &viewer{client, map[string]string{}} }

func (v *viewer) view(ctx context.Context, p v1alpha1.Policy) (*policyView, error) {
	out := &policyView{Policy: policyTitle(p), Revision: p.PolicyStatus().RenderedRevision, policy: p, Secrets: []secretView{}, Pods: []podView{}}
	out.Ready, out.Reason = readiness(p)
	if c := condition(p, v1alpha1.ConditionReady); c != nil {
		out.Message = c.Message
	}
	pods, err := v.pods(ctx, p)
	if err != nil {
		return nil, err
	}
	sidecars := v.client.Sidecars(ctx, pods)
	configs := map[string]string{}
	for _, namespace := range namespacesOf(p, pods) {
		s := v.secret(ctx, p, namespace)
		out.Secrets = append(out.Secrets, s)
		configs[namespace] = s.ConfigRevision
	}
	for i := range pods {
		out.Pods = append(out.Pods, v.pod(ctx, p, &pods[i], &sidecars[i], configs[pods[i].Namespace]))
	}
	return out, ctx.Err()
}

func condition(p v1alpha1.Policy, kind string) *metav1.Condition {
	for i, c := range p.PolicyStatus().Conditions {
		if c.Type == kind {
			return &p.PolicyStatus().Conditions[i]
		}
	}
	return nil
}

// pods are those that carry the policy, and those that it selects and that carry nothing. Probes are none of them.
func (v *viewer) pods(ctx context.Context, p v1alpha1.Policy) ([]corev1.Pod, error) {
	all, err := v.client.Pods(ctx, p.GetNamespace(), "")
	if err != nil {
		return nil, err
	}
	var selected map[string]bool
	if wide, ok := p.(*v1alpha1.ClusterEgressPolicy); ok {
		if selected, err = v.namespaces(ctx, wide); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(pod corev1.Pod) bool {
		if ended(&pod) || inject.CountsAsProbe(&pod) {
			return true
		}
		carries := pod.Labels[v1alpha1.LabelPolicy] == p.GetName() && pod.Labels[v1alpha1.LabelPolicyKind] == kindOf(p)
		in := selected == nil || selected[pod.Namespace]
		return !carries && (!in || !selection.Selects(p, pod.Labels))
	}), nil
}

func (v *viewer) namespaces(ctx context.Context, p *v1alpha1.ClusterEgressPolicy) (map[string]bool, error) {
	all, err := v.client.Namespaces(ctx, "")
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for i := range all {
		out[all[i].Name] = selection.SelectsNamespace(p, selection.Namespace{Name: all[i].Name, Labels: all[i].Labels}, setup.Namespace)
	}
	return out, nil
}

// namespacesOf are those that have a Secret of the policy.
func namespacesOf(p v1alpha1.Policy, pods []corev1.Pod) []string {
	if p.GetNamespace() != "" {
		return []string{p.GetNamespace()}
	}
	var out []string
	for i := range pods {
		out = append(out, pods[i].Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (v *viewer) secret(ctx context.Context, p v1alpha1.Policy, namespace string) secretView {
	out := secretView{Namespace: namespace, Name: v1alpha1.SecretName(kindOf(p), p.GetName())}
	meta, err := v.client.SecretMeta(ctx, namespace, out.Name)
	switch {
	case cluster.IsNotFound(err):
		out.Problem = "not written yet"
	case apierrors.IsForbidden(err):
		out.Problem = "you may not read it, so that revisions cannot be compared"
	case err != nil:
		out.Problem = err.Error()
	default:
		out.Revision, out.ConfigRevision = meta.Annotations[v1alpha1.AnnotationRevision], meta.Annotations[v1alpha1.AnnotationConfigRevision]
	}
	return out
}

func (v *viewer) pod(ctx context.Context, p v1alpha1.Policy, pod *corev1.Pod, sidecar *cluster.Sidecar, config string) podView {
	out := podView{Namespace: pod.Namespace, Name: pod.Name, Workload: v.workload(ctx, pod), Revision: sidecar.Revision}
	if leaf := sidecar.Leaf(); leaf != nil {
		out.LeafSerial, out.LeafNotAfter = leaf.Serial, &leaf.NotAfter
	}
	switch {
	case !inject.IsInjected(pod):
		out.State, out.Reason = podUnprotected, "it was created before the policy: "+restartCommand(out.Workload, pod)
	case pod.Labels[v1alpha1.LabelPolicy] != p.GetName() || pod.Labels[v1alpha1.LabelPolicyKind] != kindOf(p):
		out.State, out.Reason = podOther, "it was created for "+pod.Labels[v1alpha1.LabelPolicyKind]+" "+pod.Labels[v1alpha1.LabelPolicy]
	case pod.Status.Phase != corev1.PodRunning:
		out.State, out.Reason = podStarting, string(pod.Status.Phase)
	case sidecar.Err != nil:
		out.State, out.Reason = podUnreachable, firstLine(sidecar.Err.Error())
	case config == "" || sidecar.Revision == config:
		out.State = podInSync
	case sidecar.Rejected != "":
		out.State, out.Reason = podRejected, "Envoy keeps "+sidecar.Revision+": "+sidecar.Rejected
	default:
		out.State, out.Reason = podBehind, "runs "+sidecar.Revision+", not yet "+config
	}
	return out
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// workload is kind/name of what made the pod, through a ReplicaSet to its Deployment.
func (v *viewer) workload(ctx context.Context, pod *corev1.Pod) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return "pod/" + pod.Name
	}
	own := strings.ToLower(owner.Kind) + "/" + owner.Name
	if owner.Kind != "ReplicaSet" {
		return own
	}
	key := pod.Namespace + "/" + owner.Name
	if known, ok := v.owners[key]; ok {
		return known
	}
	v.owners[key] = own
	if above, err := v.client.Owner(ctx, pod.Namespace, owner.Name); err == nil && above != nil {
		v.owners[key] = strings.ToLower(above.Kind) + "/" + above.Name
	}
	return v.owners[key]
}

// restartCommand is what a person runs to get the pod made anew.
func restartCommand(workload string, pod *corev1.Pod) string {
	kind, _, _ := strings.Cut(workload, "/")
	switch kind {
	case "deployment", "statefulset", "daemonset":
		return fmt.Sprintf("kubectl rollout restart %s -n %s", workload, pod.Namespace)
	case "pod":
		return fmt.Sprintf("create it anew, it has no controller: kubectl delete pod %s -n %s", pod.Name, pod.Namespace)
	}
	return fmt.Sprintf("kubectl delete pod %s -n %s", pod.Name, pod.Namespace)
}
