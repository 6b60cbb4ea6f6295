package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/webhook/inject"
)

// rotation is the rotation of one policy.
type rotation struct {
	*shell
	client *cluster.Client
	what   rotated
	policy v1alpha1.Policy
	// asked is when it was asked for; resumed says that this was an earlier run.
	asked   time.Time
	resumed bool
	// before are the serial numbers that the pods showed, by namespace/name.
	before map[string]string
	// distrust are pods that do not know the next CA: they have to be made anew first.
	distrust []string
	told     map[string]bool
}

func (o *rotateOptions) plan(ctx context.Context, s *shell, client *cluster.Client, p v1alpha1.Policy) (*rotation, error) {
	r := &rotation{shell: s, client: client, what: o.what, policy: p, asked: s.now().UTC().Truncate(time.Second), before: map[string]string{}, told: map[string]bool{}}
	pods, err := r.pods(ctx)
	if err != nil {
		return nil, err
	}
	sidecars := client.Sidecars(ctx, pods)
	earlier, _ := time.Parse(time.RFC3339, p.GetAnnotations()[o.what.annotation()])
	for i := range pods {
		leaf := sidecars[i].Leaf()
		if leaf == nil {
			continue
		}
		r.before[podKey(&pods[i])] = leaf.Serial
		if !earlier.IsZero() && issued(leaf).Before(earlier) && !earlier.After(r.asked) {
			r.resumed = true
		}
	}
	if r.resumed {
		r.asked = earlier
	}
	if o.what == rotateCA {
		r.distrust = r.withoutNext(ctx, pods)
	}
	return r, ctx.Err()
}

func podKey(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// issued is when a leaf was signed: its validity begins earlier, for clocks that are behind.
func issued(c *cluster.Certificate) time.Time { return c.NotBefore.Add(mitm.Backdate) }

// pods carry the policy and run.
func (r *rotation) pods(ctx context.Context) ([]corev1.Pod, error) {
	all, err := r.client.Pods(ctx, r.policy.GetNamespace(), podsOf(r.policy))
	var out []corev1.Pod
	for _, pod := range all {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil && inject.IsInjected(&pod) {
			out = append(out, pod)
		}
	}
	return out, err
}

// withoutNext are pods that lack a CA which the policy's Secret has: they were created before it was published.
func (r *rotation) withoutNext(ctx context.Context, pods []corev1.Pod) []string {
	known := map[string][]string{}
	var out []string
	for i := range pods {
		namespace := pods[i].Namespace
		if _, ok := known[namespace]; !ok {
			known[namespace] = nil
			if meta, err := r.client.SecretMeta(ctx, namespace, v1alpha1.SecretName(kindOf(r.policy), r.policy.GetName())); err == nil {
				known[namespace] = strings.Split(meta.Annotations[v1alpha1.AnnotationTrusted], ",")
			}
		}
		trusted := "," + pods[i].Annotations[v1alpha1.AnnotationTrusted] + ","
		for _, ca := range known[namespace] {
			if ca != "" && !strings.Contains(trusted, ","+ca+",") {
				out = append(out, podKey(&pods[i]))
				break
			}
		}
	}
	return out
}

func (r *rotation) tree(s *shell) ui.Node {
	what := map[rotated]string{rotateLeaf: "the leaf is issued again", rotateCA: "the next CA takes over, and issues the leaf"}[r.what]
	root := ui.Node{Text: policyTitle(r.policy) + ": " + what}
	status := r.policy.PolicyStatus()
	root.Add(fmt.Sprintf("now: leaf for %s, CA for %s", untilText(status.LeafNotAfter, s.now()), untilText(status.CANotAfter, s.now())), "")
	if r.resumed {
		root.Add("asked for already at "+r.asked.Format(time.RFC3339)+": going on", "")
	}
	root.Add(fmt.Sprintf("%d running pods show %s", len(r.before), serials(r.before)), "")
	if len(r.distrust) > 0 {
		root.Add(fmt.Sprintf("%d pods do not know the next CA yet and hold it up until they are made anew: %s", len(r.distrust), strings.Join(r.distrust, ", ")), "")
	}
	return root
}

func serials(shown map[string]string) string {
	if len(shown) == 0 {
		return "no certificate"
	}
	seen := map[string]bool{}
	for _, serial := range shown {
		seen[serial] = true
	}
	if len(seen) > 1 {
		return fmt.Sprintf("%d certificates", len(seen))
	}
	for serial := range seen {
		return "serial " + serial
	}
	return ""
}

func (r *rotation) execute(ctx context.Context, deadline time.Time) error {
	if !r.resumed {
		p, err := r.client.Annotate(ctx, r.policy, map[string]string{r.what.annotation(): r.asked.Format(time.RFC3339)})
		if err != nil {
			return fmt.Errorf("%s: %w", policyTitle(r.policy), err)
		}
		r.policy = p
	}
	for {
		done, count, err := r.look(ctx)
		again := fmt.Sprintf("the request stands; to go on run kubectl netproxy rotate %s %s%s again", r.what, shortName(r.policy), namespaceHint(r.shell))
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted: " + again)
		case err != nil:
			return err
		case done:
			_, err := fmt.Fprintf(r.Out, "%s: new %s, proven on %d pods\n", policyTitle(r.policy), r.what, count)
			return err
		case !r.now().Before(deadline):
			return fmt.Errorf("%s: time is up with %d of %d pods done: %s", policyTitle(r.policy), len(r.told), count, again)
		}
		_ = r.wait(ctx, followEvery)
	}
}

// look asks every pod for its certificate. Without a pod the policy's status has to tell.
func (r *rotation) look(ctx context.Context) (done bool, pods int, err error) {
	found, err := r.pods(ctx)
	if err != nil {
		return false, 0, err
	}
	if len(found) == 0 {
		p, err := r.client.Policy(ctx, kindOf(r.policy), r.policy.GetNamespace(), r.policy.GetName())
		if err != nil {
			return false, 0, err
		}
		expiry := p.PolicyStatus().LeafNotAfter
		return expiry != nil && !expiry.Time.Before(r.asked.Add(mitm.LeafLifetime)), 0, nil
	}
	sidecars := r.client.Sidecars(ctx, found)
	done = true
	for i := range found {
		done = r.proven(&found[i], sidecars[i].Leaf()) && done
	}
	return done, len(found), nil
}

// proven says it once for each pod.
func (r *rotation) proven(pod *corev1.Pod, leaf *cluster.Certificate) bool {
	key := podKey(pod)
	if leaf == nil || issued(leaf).Before(r.asked) || leaf.Serial == r.before[key] && !r.resumed {
		return false
	}
	if !r.told[key] {
		r.told[key] = true
		text := fmt.Sprintf("pod %s shows serial %s", key, leaf.Serial)
		if before := r.before[key]; before != "" && before != leaf.Serial {
			text += ", before " + before
		}
		fmt.Fprintf(r.ErrOut, "%s, valid for %s\n", r.errorPainter().Mark(ui.Good, text), untilText(&metav1.Time{Time: leaf.NotAfter}, r.now()))
	}
	return true
}
