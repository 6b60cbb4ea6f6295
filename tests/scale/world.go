package main

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/tests/cluster"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

// workers write to the API server at once.
const workers = 16

// item is one policy with its pods.
type item struct {
	policy *v1alpha1.EgressPolicy
	// credential is the Secret that it refers to; empty if it refers to none.
	credential string
	pods       []string
	proxy      *fakeProxy // nil if its pods do not run
}

func (i *item) key() client.ObjectKey { return client.ObjectKeyFromObject(i.policy) }

func (i *item) secretKey() client.ObjectKey {
	return client.ObjectKey{Namespace: i.policy.Namespace, Name: v1alpha1.SecretName(v1alpha1.KindEgressPolicy, i.policy.Name)}
}

// parallel calls do for every number below n.
func parallel(ctx context.Context, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// examples are the policies that are shipped; the thousand are made of them in turn.
func examples() ([]*v1alpha1.EgressPolicy, error) {
	dir, err := manifests.Examples()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	var out []*v1alpha1.EgressPolicy
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		objects, err := cluster.Parse(string(text))
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			if o.GetKind() != v1alpha1.KindEgressPolicy {
				continue
			}
			raw, err := o.MarshalJSON()
			if err != nil {
				return nil, err
			}
			policy, err := decode.Policy(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, policy.(*v1alpha1.EgressPolicy))
		}
	}
	return out, nil
}

// plan lays the policies out; running ones get a status port that answers.
func (b *bench) plan() error {
	models, err := examples()
	if err != nil {
		return err
	}
	for i := range b.settings.policies {
		policy := models[i%len(models)].DeepCopy()
		name := fmt.Sprintf("agent-%d", i)
		policy.ObjectMeta = metav1.ObjectMeta{Namespace: namespace(i % b.settings.namespaces), Name: name}
		policy.Spec.PodSelector = metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
		it := &item{policy: policy}
		it.useOwnCredential()
		if i < b.settings.running {
			if it.proxy, err = newFakeProxy(); err != nil {
				return err
			}
			policy.Spec.Proxy.AdminPort = new(it.proxy.port)
		}
		b.items = append(b.items, it)
	}
	return nil
}

func namespace(i int) string { return fmt.Sprintf("scale-%d", i) }

func (i *item) useOwnCredential() {
	if i.policy.Spec.MITM == nil {
		return
	}
	for _, m := range i.policy.Spec.MITM.HeaderMutations {
		for h := range m.Headers {
			if ref := m.Headers[h].SecretRef; ref != nil {
				i.credential = "credential-" + i.policy.Name
				ref.Name = i.credential
			}
		}
	}
}

// create writes namespaces, credentials and policies.
func (b *bench) create(ctx context.Context) error {
	err := parallel(ctx, b.settings.namespaces, func(ctx context.Context, i int) error {
		return b.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}})
	})
	if err != nil {
		return err
	}
	return parallel(ctx, len(b.items), func(ctx context.Context, i int) error {
		it := b.items[i]
		if it.credential != "" {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: it.policy.Namespace, Name: it.credential},
				StringData: map[string]string{"api-key": "sk-scale-" + it.policy.Name, "organization": "scale"}}
			if err := b.api.Create(ctx, secret); err != nil {
				return err
			}
		}
		return b.api.Create(ctx, it.policy)
	})
}

// userPod is a pod as a user writes it. Nothing schedules it: there are no nodes.
func userPod(it *item, name string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: it.policy.Namespace, Name: name,
			Labels: map[string]string{"app": it.policy.Name, "pod-template-hash": "6d4cf56db6", "app.kubernetes.io/part-of": "scale"},
		},
		Spec: corev1.PodSpec{
			SchedulerName: "nobody", AutomountServiceAccountToken: new(false),
			InitContainers: []corev1.Container{{Name: "migrate", Image: "registry.example.com/team/agent:1.4.2", Command: []string{"/bin/migrate", "--wait"}}},
			Containers: []corev1.Container{
				{
					Name: "agent", Image: "registry.example.com/team/agent:1.4.2", Args: []string{"--listen=:8080"},
					Env:   []corev1.EnvVar{{Name: "LOG_LEVEL", Value: "info"}, {Name: "REGION", Value: "eu-west-1"}},
					Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
				},
				{Name: "exporter", Image: "registry.example.com/team/exporter:0.9.0", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9100}}},
			},
		},
	}
}

// injected is the pod as netproxy's admission makes it, from the policy and the Secret that are there now.
func (b *bench) injected(ctx context.Context, it *item, pod *corev1.Pod) (*corev1.Pod, error) {
	var secret corev1.Secret
	if err := b.api.Get(ctx, it.secretKey(), &secret); err != nil {
		return nil, err
	}
	in := inject.Inputs{
		Ref: selection.RefOf(it.policy), Spec: &it.policy.Spec, Images: images(), UID: inject.MinPodUID + 7,
		Resources: it.policy.Spec.Proxy.Resources.Over(v1alpha1.DefaultResources(&it.policy.Spec)),
		Revision:  secret.Annotations[v1alpha1.AnnotationRevision],
	}
	if trusted := secret.Annotations[v1alpha1.AnnotationTrusted]; trusted != "" {
		in.TrustedCAs = []string{trusted} // joined by commas again
	}
	out, errs := inject.Pod(pod, in)
	return out, errs.ToAggregate()
}

// createPods makes the pods of all policies; those of running ones say that they run.
func (b *bench) createPods(ctx context.Context) error {
	each := b.settings.pods / len(b.items)
	return parallel(ctx, len(b.items), func(ctx context.Context, i int) error {
		for n := range each {
			if err := b.createPod(ctx, b.items[i], fmt.Sprintf("%s-%d", b.items[i].policy.Name, n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) createPod(ctx context.Context, it *item, name string) error {
	pod, err := b.injected(ctx, it, userPod(it, name))
	if err != nil {
		return fmt.Errorf("inject %s: %w", name, err)
	}
	if err := b.api.Create(ctx, pod); err != nil {
		return err
	}
	it.pods = append(it.pods, name)
	if it.proxy == nil {
		return nil
	}
	return b.run(ctx, pod)
}

// run gives a pod the status of one that runs, with the address of the fake proxy.
func (b *bench) run(ctx context.Context, pod *corev1.Pod) error {
	was := client.MergeFrom(pod.DeepCopy())
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{
		Name: inject.ProxyContainer, Image: images().Proxy, Started: new(true), Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	return b.api.Status().Patch(ctx, pod, was)
}

// settled counts the policies whose status says all that it can: rendered, all pods counted, and those that run confirmed.
func (b *bench) settled(ctx context.Context) (int, error) {
	var list v1alpha1.EgressPolicyList
	if err := b.api.List(ctx, &list); err != nil {
		return 0, err
	}
	known := map[client.ObjectKey]*v1alpha1.EgressPolicy{}
	for i := range list.Items {
		known[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
	}
	n := 0
	for _, it := range b.items {
		if p := known[it.key()]; p != nil && it.settledBy(p) {
			n++
		}
	}
	return n, nil
}

func (i *item) settledBy(p *v1alpha1.EgressPolicy) bool {
	running := 0
	if i.proxy != nil {
		running = len(i.pods)
	}
	s := &p.Status
	ready := slices.ContainsFunc(s.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue
	})
	return s.ObservedGeneration == p.Generation && s.RenderedRevision != "" && int(s.Pods.Injected) == len(i.pods) && int(s.Pods.InSync) == running &&
		ready == (running == len(i.pods))
}
