package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

// followEvery is how often the status of a policy is asked for while somebody waits.
const followEvery = 500 * time.Millisecond

// follow waits for policies one after the other; they go on side by side.
func (o *applyOptions) follow(ctx context.Context, s *shell, policies []v1alpha1.Policy) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	deadline := s.now().Add(o.Timeout)
	bad := false
	for _, p := range policies {
		f := &follower{shell: s, u: s.errorPainter(), viewer: newViewer(client), client: client, policy: p, deadline: deadline, restart: o.Restart}
		good, err := f.run(ctx)
		if err != nil {
			return err
		}
		bad = bad || !good
	}
	if bad {
		return exitCode(ExitBad)
	}
	return nil
}

// follower tells what becomes of one policy.
type follower struct {
	*shell
	*viewer
	u        *ui.Renderer
	client   *cluster.Client
	policy   v1alpha1.Policy
	deadline time.Time
	restart  bool

	last      string // what was said last
	restarted bool
	rolling   []rolled
}

// rolled is a workload whose pods are made anew.
type rolled struct{ resource, namespace, name string }

// run is true if every pod runs the policy, false if one cannot.
func (f *follower) run(ctx context.Context) (good bool, err error) {
	generation := f.policy.GetGeneration()
	for {
		p, err := f.client.Policy(ctx, kindOf(f.policy), f.policy.GetNamespace(), f.policy.GetName())
		switch {
		case ctx.Err() != nil:
			return false, fmt.Errorf("interrupted: %s is applied; go on with kubectl netproxy status %s%s -w", policyTitle(f.policy), shortName(f.policy), namespaceHint(f.shell))
		case cluster.IsNotFound(err):
			return false, fmt.Errorf("%s was deleted meanwhile", policyTitle(f.policy))
		case err != nil:
			return false, err
		}
		if p.PolicyStatus().ObservedGeneration >= generation {
			if done, good, err := f.look(ctx, p); done || err != nil {
				return good, err
			}
		} else {
			f.say(ui.Plain, "waiting for netproxy to see the change")
		}
		if !f.now().Before(f.deadline) {
			return false, f.timeout(p)
		}
		_ = f.wait(ctx, followEvery)
	}
}

func (f *follower) timeout(p v1alpha1.Policy) error {
	_, reason := readiness(p)
	if reason == v1alpha1.ReasonInSync {
		reason = f.last // what was restarted is not there yet
	}
	hint := fmt.Sprintf("see kubectl netproxy status %s%s", shortName(p), namespaceHint(f.shell))
	if p.PolicyStatus().ObservedGeneration < f.policy.GetGeneration() {
		hint = "netproxy itself does not answer: see kubectl netproxy check"
	}
	return fmt.Errorf("%s is applied, and time is up before its pods run it (%s): %s", policyTitle(p), reason, hint)
}

// look decides whether there is something to wait for.
func (f *follower) look(ctx context.Context, p v1alpha1.Policy) (done, good bool, err error) {
	ready := condition(p, v1alpha1.ConditionReady)
	if ready == nil {
		f.say(ui.Plain, "waiting for its status")
		return false, false, nil
	}
	f.tellExpiry(p)
	switch {
	case ready.Status == "True":
		if rolling := f.rollout(ctx); rolling != "" {
			f.say(ui.Plain, rolling)
			return false, false, nil
		}
		f.say(ui.Good, fmt.Sprintf("%s: %s (revision %s)", policyTitle(p), ready.Message, p.PolicyStatus().RenderedRevision))
		f.tellDegraded(p)
		return true, true, nil
	case ready.Reason == v1alpha1.ReasonPodsUnprotected && f.restart && !f.restarted:
		f.restarted = true
		return false, false, f.restartWorkloads(ctx, p)
	case ready.Reason == v1alpha1.ReasonPodsUnprotected && !f.restart:
		return true, false, f.tellUnprotected(ctx, p)
	case waits(ready.Reason):
		f.say(ui.Plain, fmt.Sprintf("%s: %s", ready.Reason, ready.Message))
		return false, false, nil
	}
	f.say(ui.Bad, fmt.Sprintf("%s: %s: %s", policyTitle(p), ready.Reason, ready.Message))
	return true, false, nil
}

// rollout says what is not there yet of the workloads that were restarted: the policy's status counts pods that run.
func (f *follower) rollout(ctx context.Context) string {
	for _, w := range f.rolling {
		state, err := f.client.ReadRollout(ctx, w.resource, w.namespace, w.name)
		if err == nil && !state.Done() {
			return fmt.Sprintf("%s/%s: %d of %d pods are new and available", strings.TrimSuffix(w.resource, "s"), w.name, min(state.Updated, state.Available), state.Wanted)
		}
	}
	return ""
}

// waits are the reasons that go by themselves.
func waits(reason string) bool {
	switch reason {
	case v1alpha1.ReasonRollingOut, v1alpha1.ReasonNamespaceNotCovered, v1alpha1.ReasonPodsUnprotected, v1alpha1.ReasonNotRendered:
		return true
	}
	return false
}

// say tells it once.
func (f *follower) say(tone ui.Tone, text string) {
	if text == f.last {
		return
	}
	f.last = text
	line := "  " + text
	if tone != ui.Plain {
		line = f.u.Mark(tone, text)
	}
	fmt.Fprintln(f.ErrOut, line)
}

func (f *follower) tellExpiry(p v1alpha1.Policy) {
	status := p.PolicyStatus()
	if f.last == "" && status.LeafNotAfter != nil {
		f.say(ui.Plain, fmt.Sprintf("certificates: leaf for %s, CA for %s", untilText(status.LeafNotAfter, f.now()), untilText(status.CANotAfter, f.now())))
	}
}

func (f *follower) tellDegraded(p v1alpha1.Policy) {
	for _, c := range worthSaying(p) {
		f.warn("%s: %s: %s", policyTitle(p), c.Reason, c.Message)
	}
}

func (f *follower) tellUnprotected(ctx context.Context, p v1alpha1.Policy) error {
	pods, err := f.unprotected(ctx, p)
	if err != nil {
		return err
	}
	f.say(ui.Bad, fmt.Sprintf("%s: %d pods run without the proxy: they were created before the policy", policyTitle(p), len(pods)))
	commands := map[string]bool{}
	for i := range pods {
		command := restartCommand(f.workload(ctx, &pods[i]), &pods[i])
		if !commands[command] {
			fmt.Fprintln(f.ErrOut, "    "+command)
		}
		commands[command] = true
	}
	fmt.Fprintln(f.ErrOut, "  or let this command do it: --restart")
	return nil
}

func (f *follower) unprotected(ctx context.Context, p v1alpha1.Policy) ([]corev1.Pod, error) {
	pods, err := f.pods(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []corev1.Pod
	for i := range pods {
		if pods[i].Labels[v1alpha1.LabelPolicy] == "" && pods[i].DeletionTimestamp == nil {
			out = append(out, pods[i])
		}
	}
	return out, nil
}

// restartWorkloads rolls what made the pods that have no proxy.
func (f *follower) restartWorkloads(ctx context.Context, p v1alpha1.Policy) error {
	pods, err := f.unprotected(ctx, p)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	var left []error
	for i := range pods {
		workload := f.workload(ctx, &pods[i])
		key := pods[i].Namespace + " " + workload
		if done[key] {
			continue
		}
		done[key] = true
		kind, name, _ := strings.Cut(workload, "/")
		switch kind {
		case "deployment", "statefulset", "daemonset":
			f.say(ui.Plain, fmt.Sprintf("restarting %s in namespace %s", workload, pods[i].Namespace))
			if err := f.client.RestartTemplate(ctx, kind+"s", pods[i].Namespace, name, v1alpha1.AnnotationRestart, f.now().UTC().Format(time.RFC3339)); err != nil {
				return fmt.Errorf("restarting %s: %w", workload, err)
			}
			f.rolling = append(f.rolling, rolled{kind + "s", pods[i].Namespace, name})
		default:
			left = append(left, fmt.Errorf("%s cannot be restarted from here: %s", workload, restartCommand(workload, &pods[i])))
		}
	}
	return errors.Join(left...)
}
