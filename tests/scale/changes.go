package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// change is something that users do all day.
type change struct {
	name string
	// do makes it, for the nth time, on a policy whose pods run.
	do func(ctx context.Context, it *item, n int) error
	// rendered says whether the Secret has to change by it.
	rendered outcome
}

type outcome int

const (
	sameSecret outcome = iota
	newSecret
)

func (b *bench) all() []change {
	return []change{
		{"rule edit", b.editRule, newSecret},
		{"credential edit", b.editCredential, newSecret},
		{"new pod, Pending and then Running", b.newPod, sameSecret},
		{"label edit of a pod", b.editLabel, sameSecret},
		{"pod deleted", b.deletePod, sameSecret},
		{"label edit of a policy", b.editPolicyLabel, sameSecret},
	}
}

// changes counts what each change costs. Policies with credentials and running pods are taken in turn.
func (b *bench) changes(ctx context.Context, p *program) error {
	var subjects []*item
	for _, it := range b.items {
		if it.credential != "" && it.proxy != nil {
			subjects = append(subjects, it)
		}
	}
	if len(subjects) == 0 {
		return fmt.Errorf("no policy has both a credential and running pods: give more than %d -running", b.settings.running)
	}
	rate, err := p.background(ctx)
	if err != nil {
		return err
	}
	pods := b.settings.pods / len(b.items)
	b.report.section(fmt.Sprintf("Cost of one change, mean of %d, to a policy with %d running pods (background of %.1f calls a minute taken off)", b.settings.trials, pods, rate*60))
	for _, c := range b.all() {
		step("change: %s", c.name)
		if err := b.measure(ctx, p, c, subjects, rate); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// background is how many calls a second the program makes when nothing happens.
func (p *program) background(ctx context.Context) (float64, error) {
	const window = 20 * time.Second
	before, err := p.quiet(ctx)
	if err != nil {
		return 0, err
	}
	time.Sleep(window)
	after, err := p.counters(ctx)
	return after.minus(before).total() / window.Seconds(), err
}

func (b *bench) measure(ctx context.Context, p *program, c change, subjects []*item, rate float64) error {
	before, err := p.counters(ctx)
	if err != nil {
		return err
	}
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	var latencies []time.Duration
	for n := range b.settings.trials {
		took, err := b.once(ctx, c, subjects[n%len(subjects)], n)
		if err != nil {
			return err
		}
		if c.rendered == newSecret {
			latencies = append(latencies, took)
		}
		time.Sleep(1500 * time.Millisecond) // statuses are written after events were gathered
	}
	after, err := p.counters(ctx)
	if err != nil {
		return err
	}
	used, err := p.cpu()
	if err != nil {
		return err
	}
	diff, trials := after.minus(before), float64(b.settings.trials)
	calls := diff.total() - rate*time.Since(began).Seconds()
	b.report.add(c.name, fmt.Sprintf("%v, reconciles %v", diff.calls, diff.reconciles), "%.1f calls, %.1f ms CPU", max(0, calls/trials), float64((used-cpu).Microseconds())/1000/trials)
	if len(latencies) > 0 {
		b.report.add("  until the status says that all pods run it", fmt.Sprintf("%d ms of it are the fake kubelet's and proxies'", delivery.Milliseconds()), "%s", span(latencies, milliseconds))
	}
	return nil
}

// once makes a change and waits until it has had its effect.
func (b *bench) once(ctx context.Context, c change, it *item, n int) (time.Duration, error) {
	var policy v1alpha1.EgressPolicy
	if err := b.api.Get(ctx, it.key(), &policy); err != nil {
		return 0, err
	}
	was := policy.Status.RenderedRevision
	began := time.Now()
	if err := c.do(ctx, it, n); err != nil {
		return 0, err
	}
	for end := began.Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err := b.api.Get(ctx, it.key(), &policy); err != nil {
			return 0, err
		}
		if (c.rendered == sameSecret || policy.Status.RenderedRevision != was) && it.settledBy(&policy) {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("%s does not settle: %+v", it.key(), policy.Status)
}

func (b *bench) mergePatch(ctx context.Context, object client.Object, format string, args ...any) error {
	return b.api.Patch(ctx, object, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, format, args...)))
}

func (b *bench) editRule(ctx context.Context, it *item, n int) error {
	return b.mergePatch(ctx, it.policy, `{"spec":{"egress":{"rules":[{"name":"openai","action":"Allow","hosts":["api.openai.com"],"ports":[{"port":%d}]}]}}}`, 8443+n)
}

func (b *bench) editCredential(ctx context.Context, it *item, n int) error {
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = it.policy.Namespace, it.credential
	return b.mergePatch(ctx, secret, `{"stringData":{"api-key":"sk-changed-%d"}}`, n)
}

func (b *bench) newPod(ctx context.Context, it *item, n int) error {
	name := fmt.Sprintf("%s-new-%d", it.policy.Name, n)
	pod, err := b.injected(ctx, it, userPod(it, name))
	if err != nil {
		return err
	}
	if err := b.api.Create(ctx, pod); err != nil {
		return err
	}
	// The policy is as it should be when it counts the pod, and has all but this one confirmed.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var policy v1alpha1.EgressPolicy
		if err := b.api.Get(ctx, it.key(), &policy); err != nil {
			return err
		}
		if int(policy.Status.Pods.Injected) == len(it.pods)+1 {
			it.pods = append(it.pods, name)
			return b.run(ctx, pod)
		}
	}
	return fmt.Errorf("pod %s is not counted", name)
}

func (b *bench) editLabel(ctx context.Context, it *item, n int) error {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = it.policy.Namespace, it.pods[0]
	return b.mergePatch(ctx, pod, `{"metadata":{"labels":{"trial":"n%d"}}}`, n)
}

func (b *bench) deletePod(ctx context.Context, it *item, _ int) error {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = it.policy.Namespace, it.pods[len(it.pods)-1]
	it.pods = it.pods[:len(it.pods)-1]
	return b.api.Delete(ctx, pod, client.GracePeriodSeconds(0))
}

func (b *bench) editPolicyLabel(ctx context.Context, it *item, n int) error {
	return b.mergePatch(ctx, it.policy, `{"metadata":{"labels":{"trial":"n%d"}}}`, n)
}
