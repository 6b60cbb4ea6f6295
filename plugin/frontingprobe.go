package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/render"
	"github.com/netproxy/netproxy/xds"
)

// probe is a pod of our own in the cluster that is attacked in the place of those of the workload.
type probe struct {
	*shell
	*chosen
	client    *cluster.Client
	name      string
	namespace string
	only      []string
	deadline  time.Time
	families  xds.Families
	// like is a pod whose node and service account the probe takes; nil leaves that to the scheduler.
	like *corev1.Pod
}

// inCluster attacks a policy in a pod that is made for it and deleted afterwards.
func (o *frontingOptions) inCluster(ctx context.Context, s *shell, name string) error {
	found, err := o.find(ctx, s, name)
	if err != nil {
		return err
	}
	p := &probe{shell: s, chosen: found.chosen, client: found.client, namespace: found.chosen.namespace,
		only: o.Only, deadline: s.now().Add(o.Timeout), families: found.families, like: found.like}
	if p.name, err = podName(v1alpha1.ProbePrefix, s.rand); err != nil {
		return err
	}
	report, err := p.attack(ctx)
	if err != nil {
		return err
	}
	return o.finish(s, report)
}

// attack makes the pod, follows it, and deletes it in every case.
func (p *probe) attack(ctx context.Context) (report frontingReport, err error) {
	p.sweep(ctx)
	made, err := p.render()
	if err != nil {
		return report, err
	}
	pod, err := p.client.CreatePod(ctx, p.pod())
	var refusal apierrors.APIStatus
	if errors.As(err, &refusal) {
		return report, fmt.Errorf("creating the probe pod %s/%s: %w%s", p.namespace, p.name, err, p.mayProbe(err))
	}
	// Without an answer nobody knows whether it is there.
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	if err != nil {
		return report, fmt.Errorf("creating the probe pod %s/%s: %w", p.namespace, p.name, err)
	}
	p.say(fmt.Sprintf("probe pod %s/%s created", p.namespace, p.name))
	for _, secret := range p.secrets(pod, made) {
		if err := p.client.CreateSecret(ctx, secret); err != nil {
			return report, fmt.Errorf("creating Secret %s/%s for the probe: %w", p.namespace, secret.Name, err)
		}
	}
	f := &probeLog{probe: p}
	if err := f.follow(ctx); err != nil {
		return report, err
	}
	return newFrontingReport(p.ref().String(), "in the probe pod "+p.namespace+"/"+p.name, made.differences, f.rows), nil
}

func (p *probe) say(text string) { fmt.Fprintln(p.ErrOut, "  "+text) }

// mayProbe names the right that the webhook asks for.
func (p *probe) mayProbe(err error) string {
	if !strings.Contains(err.Error(), "denied the request") {
		return ""
	}
	return "\nor attack the policy on this machine: kubectl netproxy test-fronting " + shortName(p.policy) + " --local"
}

// pod is what is asked for. The webhook makes everything else of it.
func (p *probe) pod() *corev1.Pod {
	pod := inject.ProbePod(p.name, p.namespace, p.ref())
	if p.like == nil {
		return pod
	}
	// On the same node: kernel, packet filter and Envoy's image are those of the pod that is meant.
	pod.Spec.Affinity = onNode(p.like.Spec.NodeName)
	pod.Spec.Tolerations, pod.Spec.ImagePullSecrets = p.like.Spec.Tolerations, p.like.Spec.ImagePullSecrets
	pod.Spec.ServiceAccountName, pod.Spec.PriorityClassName = p.like.Spec.ServiceAccountName, p.like.Spec.PriorityClassName
	return pod
}

// secrets belong to the pod and go with it.
func (p *probe) secrets(pod *corev1.Pod, made *probeFiles) []*corev1.Secret {
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: p.namespace, Labels: map[string]string{v1alpha1.LabelProbe: "true"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
			},
			Data: data,
		}
	}
	return []*corev1.Secret{secret(p.name, made.config), secret(v1alpha1.ProbeLabSecretName(p.name), made.lab)}
}

// remove deletes what was made, also after an interrupt.
func (p *probe) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	if err := p.delete(ctx, p.name); err != nil {
		return fmt.Errorf("the probe could not be deleted: %w: kubectl delete pod %s -n %s", err, p.name, p.namespace)
	}
	p.say("probe pod deleted")
	return nil
}

func (p *probe) delete(ctx context.Context, name string) error {
	return errors.Join(p.client.DeletePod(ctx, p.namespace, name), p.client.DeleteSecret(ctx, p.namespace, name),
		p.client.DeleteSecret(ctx, p.namespace, v1alpha1.ProbeLabSecretName(name)))
}

// sweep deletes probes that ended without the program that made them: it was killed.
func (p *probe) sweep(ctx context.Context) {
	pods, err := p.client.Pods(ctx, p.namespace, v1alpha1.LabelProbe+"=true")
	if err != nil {
		return // the next request says why
	}
	for i := range pods {
		if ended(&pods[i]) && strings.HasPrefix(pods[i].Name, v1alpha1.ProbePrefix) && p.delete(ctx, pods[i].Name) == nil {
			p.say("deleted what an earlier run left: probe pod " + p.namespace + "/" + pods[i].Name)
		}
	}
}

// lab is the data of the Secret that tells the probe what to do: the policy, with the credentials that its proxy injects.
func (p *probe) lab(authority *lab.Authority, credentials render.Objects) (map[string][]byte, error) {
	documents, err := policyYAML(p.policy)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		secret := corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace}, Data: credentials[name],
		}
		text, err := yaml.Marshal(secret)
		if err != nil {
			return nil, err
		}
		documents += "---\n" + string(text)
	}
	options, err := json.Marshal(probeOptions{Only: p.only, PrivateRanges: rangeTexts(p.private)})
	if err != nil {
		return nil, err
	}
	key, err := authority.RevealPEM()
	return map[string][]byte{probePolicyFile: []byte(documents), probeAuthorityFile: key, probeOptionsFile: options}, err
}
