package plugin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// runningPod is a pod, with what its Envoy runs and what it should run.
type runningPod struct {
	name string
	// waits is the phase of a pod whose proxy cannot be asked yet.
	waits   string
	sidecar cluster.Sidecar
	// wanted is the configuration of the policy's Secret, rendered what this program makes of the policy: they differ if
	// the Secret is behind, or made by another version.
	wanted   string
	rendered map[string]xds.Families
	// privateCAs are part of a rendering, and not known here.
	privateCAs bool
}

// find loads the policy from files or from the cluster.
func (o *explainOptions) find(ctx context.Context, s *shell) (*chosen, *runningPod, error) {
	if o.target == nil {
		c, err := o.load(s)
		return c, nil, err
	}
	client, err := s.cluster()
	if err != nil {
		return nil, nil, err
	}
	if o.target.kind != targetPod {
		policy, err := o.target.policy(ctx, client)
		if err != nil {
			return nil, nil, err
		}
		c, err := o.fromCluster(ctx, s, client, policy, policy.GetNamespace())
		return c, nil, err
	}
	pod, err := readPod(ctx, client, client.Namespace, o.target.name)
	if err != nil {
		return nil, nil, err
	}
	policy, err := policyOfPod(ctx, client, pod)
	if err != nil {
		return nil, nil, err
	}
	c, err := o.fromCluster(ctx, s, client, policy, pod.Namespace)
	if err != nil {
		return nil, nil, err
	}
	return c, look(ctx, client, pod, c), ctx.Err()
}

// readPod reads a pod of the namespace that is meant.
func readPod(ctx context.Context, client *cluster.Client, namespace, name string) (*corev1.Pod, error) {
	pod, err := client.Pod(ctx, namespace, name)
	if cluster.IsNotFound(err) {
		return nil, fmt.Errorf("there is no pod %s in namespace %s: see kubectl get pods -n %s", name, namespace, namespace)
	}
	return pod, err
}

// policyOfPod is the one that was fixed when the pod was created.
func policyOfPod(ctx context.Context, client *cluster.Client, pod *corev1.Pod) (v1alpha1.Policy, error) {
	if !inject.IsInjected(pod) {
		return nil, noProxy(ctx, client, pod)
	}
	kind, name := pod.Labels[v1alpha1.LabelPolicyKind], pod.Labels[v1alpha1.LabelPolicy]
	policy, err := client.Policy(ctx, kind, pod.Namespace, name)
	if cluster.IsNotFound(err) {
		return nil, fmt.Errorf("pod %s/%s runs %s %s, which was deleted: its proxy keeps the last configuration until the pod ends", pod.Namespace, pod.Name, kind, name)
	}
	return policy, err
}

// noProxy says why, as far as can be known: a policy that would have the pod came later.
func noProxy(ctx context.Context, client *cluster.Client, pod *corev1.Pod) error {
	base := fmt.Sprintf("pod %s/%s has no proxy: nothing controls what it reaches", pod.Namespace, pod.Name)
	policies, err := findPolicies(ctx, client, nil, ownScope)
	if err != nil {
		return fmt.Errorf("%s", base)
	}
	for _, p := range policies {
		if kindOf(p) == v1alpha1.KindEgressPolicy && selection.Selects(p, pod.Labels) {
			v := newViewer(client)
			return fmt.Errorf("%s; %s selects it and came later: %s", base, policyTitle(p), restartCommand(v.workload(ctx, pod), pod))
		}
	}
	return fmt.Errorf("%s, and no policy of its namespace selects it", base)
}

func look(ctx context.Context, client *cluster.Client, pod *corev1.Pod, c *chosen) *runningPod {
	out := &runningPod{name: pod.Namespace + "/" + pod.Name, rendered: revisions(c.plan), privateCAs: len(c.spec.Trust.AdditionalCAs) > 0}
	if pod.Status.Phase == corev1.PodPending {
		out.waits = string(pod.Status.Phase)
		return out
	}
	out.sidecar = client.Sidecar(ctx, pod)
	if meta, err := client.SecretMeta(ctx, pod.Namespace, v1alpha1.SecretName(kindOf(c.policy), c.policy.GetName())); err == nil {
		out.wanted = meta.Annotations[v1alpha1.AnnotationConfigRevision]
	}
	return out
}

// revisions are what the plan renders to; the cluster's address families are not known here. Certificates are no part of it.
func revisions(plan *xds.Plan) map[string]xds.Families {
	out := map[string]xds.Families{}
	for _, families := range []xds.Families{xds.DualStack, xds.IPv4Only, xds.IPv6Only} {
		files, err := plan.Render(xds.Config{Families: families, LeafCert: []byte("-"), LeafKey: xds.SecretText("-")})
		if err == nil {
			out[files.Revision()] = families
		}
	}
	return out
}

// state is what there is to say about the pod.
func (r *runningPod) state() (ui.Tone, string) {
	running := r.sidecar.Revision
	_, same := r.rendered[running]
	switch {
	case r.waits != "":
		return ui.Notice, fmt.Sprintf("the proxy of pod %s does not run yet (%s)", r.name, r.waits)
	case r.sidecar.Err != nil:
		return ui.Notice, firstLine(r.sidecar.Err.Error())
	case same:
		return ui.Good, fmt.Sprintf("pod %s runs what this policy renders (%s)", r.name, running)
	case r.privateCAs && running == r.wanted && running != "":
		return ui.Good, fmt.Sprintf("pod %s runs what the policy's Secret holds (%s)", r.name, running)
	case r.wanted != "" && running != r.wanted && r.sidecar.Rejected != "":
		return ui.Bad, fmt.Sprintf("pod %s runs %s and refused %s: %s", r.name, running, r.wanted, r.sidecar.Rejected)
	case r.wanted != "" && running != r.wanted:
		return ui.Notice, fmt.Sprintf("pod %s runs %s and has not taken %s yet", r.name, running, r.wanted)
	}
	return ui.Notice, fmt.Sprintf("pod %s runs %s, which is not what this program renders: netproxy in the cluster has another version", r.name, running)
}

// warn tells what would make the answer wrong.
func (r *runningPod) warn(s *shell) {
	if tone, text := r.state(); tone != ui.Good {
		s.warn("%s; the answer is about the policy as it is now", text)
	}
}

func (r *runningPod) add(s *shell, root *ui.Node) {
	tone, text := r.state()
	node := ui.Node{Text: s.painter().Mark(tone, text)}
	for _, certificate := range r.sidecar.Certificates {
		node.Add(fmt.Sprintf("shows a certificate with serial %s, until %s", certificate.Serial, certificate.NotAfter.UTC().Format("2006-01-02")), "")
	}
	root.Children = append([]ui.Node{node}, root.Children...)
}
