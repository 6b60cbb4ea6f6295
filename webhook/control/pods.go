package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

// How often a proxy is asked. While it does not run what it should, often at first; when it does, rarely.
const (
	askFirst  = 100 * time.Millisecond
	askAtMost = 15 * time.Second
	askInSync = 10 * time.Minute
	// bumpWait is when the kubelet is told again, doubled each time.
	bumpWait = 1500 * time.Millisecond
	maxBumps = 5
)

// podWorkers ask proxies at once.
const podWorkers = 32

// pods tells the kubelets of changed Secrets, and finds out whether the proxies run them.
type pods struct {
	*cluster
	proxies *proxies
}

func (c *cluster) addPods(mgr manager.Manager) error {
	p := &pods{c, newProxies()}
	b := builder.TypedControllerManagedBy[types.NamespacedName](mgr).Named("pods").
		WithOptions(controller.TypedOptions[types.NamespacedName]{MaxConcurrentReconciles: podWorkers})
	b = b.WatchesRawSource(source.TypedKind(mgr.GetCache(), &corev1.Pod{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(_ context.Context, pod *corev1.Pod) []types.NamespacedName {
			if !inject.IsInjected(pod) {
				return nil
			}
			return []types.NamespacedName{client.ObjectKeyFromObject(pod)}
		})))
	b = b.WatchesRawSource(source.TypedChannel(c.board.changedTargets, handler.TypedEnqueueRequestsFromMapFunc(p.ofTarget)))
	return b.Complete(p)
}

func (p *pods) ofTarget(ctx context.Context, target Target) []types.NamespacedName {
	list, err := p.podsOf(ctx, target.Ref(), target.Namespace)
	if err != nil {
		return nil
	}
	out := make([]types.NamespacedName, 0, len(list))
	for i := range list {
		out = append(out, client.ObjectKeyFromObject(&list[i]))
	}
	return out
}

// Reconcile brings one pod up to its policy's revision.
func (p *pods) Reconcile(ctx context.Context, key types.NamespacedName) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := p.Get(ctx, key, &pod); err != nil {
		p.board.forgetPod(key)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	target := targetOfPod(&pod)
	want, known := p.board.outcome(target)
	if !inject.IsInjected(&pod) || !alive(&pod) || !known || want.Failure != nil {
		return reconcile.Result{}, nil
	}
	state := p.board.pod(key)
	if err := p.bump(ctx, &pod, want.Revision, &state); err != nil {
		return reconcile.Result{}, err
	}
	if !proxyStarted(&pod) {
		p.board.setPod(key, state)
		return reconcile.Result{}, nil // its start is an event
	}
	state.Observation = p.proxies.ask(ctx, &pod, want, state.past)
	after := p.judge(want, &state)
	if err := p.bumpAgain(ctx, &pod, want.Revision, &state); err != nil {
		return reconcile.Result{}, err
	}
	was := p.board.pod(key)
	p.board.setPod(key, state)
	if was.For != state.For || was.Rejected != state.Rejected || was.Unreachable != state.Unreachable {
		p.board.wake(target.Ref())
	}
	return reconcile.Result{RequeueAfter: after}, nil
}

// judge says when to ask again.
func (p *pods) judge(want Outcome, state *podState) time.Duration {
	if state.runs(want) {
		state.For, state.past = want.Revision, state.Refusals
		return askInSync
	}
	state.For = ""
	waited := p.clock().Sub(state.bumped)
	return min(askAtMost, max(askFirst, waited/2))
}

// bump changes the annotation, which makes the kubelet look at the pod's volumes at once. Without it a changed Secret takes a minute.
func (p *pods) bump(ctx context.Context, pod *corev1.Pod, revision string, state *podState) error {
	if state.bumpedTo == revision {
		return nil
	}
	*state = podState{Observation: state.Observation, past: state.past, bumpedTo: revision, bumped: p.clock()}
	if at, _, _ := strings.Cut(pod.Annotations[v1alpha1.AnnotationRevision], "."); at == revision {
		return nil // injected with it, or bumped by the leader before
	}
	return p.annotate(ctx, pod, revision)
}

// bumpAgain is for a proxy that does not follow: the kubelet may have looked before the Secret arrived in its cache.
func (p *pods) bumpAgain(ctx context.Context, pod *corev1.Pod, revision string, state *podState) error {
	if state.For == revision || state.Unreachable != "" || state.bumps >= maxBumps || p.clock().Sub(state.bumped) < bumpWait<<state.bumps {
		return nil
	}
	state.bumps++
	return p.annotate(ctx, pod, fmt.Sprintf("%s.%d", revision, state.bumps))
}

func (p *pods) annotate(ctx context.Context, pod *corev1.Pod, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRevision, value)
	shell := &corev1.Pod{}
	shell.Namespace, shell.Name = pod.Namespace, pod.Name
	if err := p.Patch(ctx, shell, client.RawPatch(types.MergePatchType, []byte(patch)), FieldOwner); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("tell the kubelet of pod %s/%s: %w", pod.Namespace, pod.Name, err))
	}
	return nil
}

func targetOfPod(pod *corev1.Pod) Target {
	return targetOf(Carried(pod.Labels, pod.Namespace), pod.Namespace)
}

// Carried is the policy that an injected pod with these labels carries.
func Carried(labels map[string]string, namespace string) xds.PolicyRef {
	ref := xds.PolicyRef{Kind: labels[v1alpha1.LabelPolicyKind], Namespace: namespace, Name: labels[v1alpha1.LabelPolicy]}
	if ref.Kind == v1alpha1.KindClusterEgressPolicy {
		ref.Namespace = ""
	}
	return ref
}

func proxyStarted(pod *corev1.Pod) bool {
	for _, s := range pod.Status.InitContainerStatuses {
		if s.Name == inject.ProxyContainer {
			return pod.Status.PodIP != "" && s.Started != nil && *s.Started
		}
	}
	return false
}
