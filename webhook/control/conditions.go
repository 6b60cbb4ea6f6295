package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/render"
)

// podSecurityLabel is Kubernetes' own: the level that pods of the namespace have to meet.
const podSecurityLabel = "pod-security.kubernetes.io/enforce"

// maxMessage is the API's limit for a condition's message.
const maxMessage = 32768

func conditionOf(list []metav1.Condition, kind string) *metav1.Condition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// finding is a condition's content.
type finding struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, format string, args ...any) finding {
	return finding{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) finding {
	return finding{metav1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

func (v *view) conditions(t *tally, now metav1.Time) []metav1.Condition {
	findings := map[string]finding{
		v1alpha1.ConditionReady: v.ready(t), v1alpha1.ConditionCovered: v.covered(), v1alpha1.ConditionDegraded: v.degraded(t),
		v1alpha1.ConditionConflict: v.conflict(t), v1alpha1.ConditionWeakened: v.weakened(), v1alpha1.ConditionPodSecurity: v.podSecurity(),
	}
	var out []metav1.Condition
	for _, kind := range slices.Sorted(maps.Keys(findings)) {
		f := findings[kind]
		c := metav1.Condition{
			Type: kind, Status: f.status, Reason: f.reason, Message: f.message[:min(maxMessage, len(f.message))],
			ObservedGeneration: v.policy.GetGeneration(), LastTransitionTime: now,
		}
		if was := conditionOf(v.policy.PolicyStatus().Conditions, kind); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		out = append(out, c)
	}
	return out
}

// ready is the first thing that is in the way.
func (v *view) ready(t *tally) finding {
	if v.policy.GetDeletionTimestamp() != nil {
		return no(v1alpha1.ReasonTerminating, "the policy is deleted; %d pods still run with it: delete or restart them", t.Injected)
	}
	for _, ns := range v.namespaces {
		o, known := v.outcomes[ns.Name]
		switch {
		case !known:
			return no(v1alpha1.ReasonNotRendered, "the configuration for namespace %s is not written yet", ns.Name)
		case o.Failure != nil:
			return no(o.Failure.Reason, "%s", o.Failure.Message)
		}
	}
	if c := v.covered(); c.status != metav1.ConditionTrue {
		return c
	}
	switch {
	case t.rejected != nil:
		return no(v1alpha1.ReasonConfigRejected, "pod %s: Envoy refused the configuration and keeps the one before: %s", t.rejected.Pod, t.rejected.Reason)
	case len(t.unprotected) > 0:
		return no(v1alpha1.ReasonPodsUnprotected, "%d pods run without the proxy, as they were created before the policy: %s: restart them", len(t.unprotected), some(t.unprotected))
	case t.InSync < t.Injected && t.unreachable != "":
		return no(v1alpha1.ReasonRollingOut, "%d of %d pods run the newest configuration; %s", t.InSync, t.Injected, t.unreachable)
	case t.InSync < t.Injected:
		return no(v1alpha1.ReasonRollingOut, "%d of %d pods run the newest configuration; not yet: %s", t.InSync, t.Injected, some(t.behind))
	case t.Selected == 0:
		return yes(v1alpha1.ReasonNothingSelected, "no pod is selected: no pod %s in %s", v.selector(), v.where())
	}
	return yes(v1alpha1.ReasonInSync, "all %d pods run the newest configuration", t.InSync)
}

func (v *view) selector() string {
	text := metav1.FormatLabelSelector(&v.policy.PolicySpec().PodSelector)
	if text == "<none>" {
		return "runs"
	}
	return "matches " + text
}

func (v *view) where() string {
	if v.ref.Namespace != "" {
		if v1alpha1.IsSystemNamespace(v.ref.Namespace, v.own) {
			return "namespace " + v.ref.Namespace + ", which belongs to the system and is never touched"
		}
		return "namespace " + v.ref.Namespace
	}
	return fmt.Sprintf("the %d selected namespaces; those of the system are never touched", len(v.namespaces))
}

func (v *view) covered() finding {
	var open []string
	for _, ns := range v.namespaces {
		if ns.Labels[v1alpha1.LabelEnabled] != Enabled {
			open = append(open, ns.Name)
		}
	}
	if len(open) > 0 {
		return no(v1alpha1.ReasonNamespaceNotCovered, "admission does not fail closed yet in: %s (label %s=true)", some(open), v1alpha1.LabelEnabled)
	}
	return yes(v1alpha1.ReasonAllCovered, "admission fails closed in every selected namespace")
}

// degraded is what needs somebody's hand while the rest works.
func (v *view) degraded(t *tally) finding {
	var problems []render.Problem
	for _, namespace := range slices.Sorted(maps.Keys(v.outcomes)) {
		o := v.outcomes[namespace]
		if o.Failure != nil {
			problems = append(problems, render.Problem{Reason: o.Failure.Reason, Message: o.Failure.Message})
		}
		for _, p := range o.Problems {
			if v.ref.Namespace == "" {
				p.Message = "namespace " + namespace + ": " + p.Message
			}
			problems = append(problems, p)
		}
	}
	if len(t.distrust) > 0 {
		problems = append(problems, render.Problem{Reason: v1alpha1.ReasonPodsDistrustCA, Message: fmt.Sprintf(
			"%d pods were created before the policy had its CA and do not trust it: %s: restart them", len(t.distrust), some(t.distrust))})
	}
	if len(problems) == 0 {
		return no(v1alpha1.ReasonNone, "nothing is missing")
	}
	var messages []string
	for _, p := range problems {
		messages = append(messages, p.Message)
	}
	return yes(problems[0].Reason, "%s", some(messages))
}

func (v *view) conflict(t *tally) finding {
	var stronger, weaker []string
	for ref, c := range t.conflicts {
		if c.Wins {
			stronger = append(stronger, ref.String())
		} else {
			weaker = append(weaker, ref.String())
		}
	}
	slices.Sort(stronger)
	slices.Sort(weaker)
	switch {
	case len(stronger) > 0:
		return yes(v1alpha1.ReasonOtherPolicyWins, "pods that this policy selects go to %s: cluster-wide policies go first, then the oldest, then the name", some(stronger))
	case len(weaker) > 0:
		return yes(v1alpha1.ReasonWinsOverOthers, "pods of this policy are also selected by %s, which it goes before", some(weaker))
	}
	return no(v1alpha1.ReasonNone, "no other policy selects its pods")
}

func (v *view) weakened() finding {
	proxy := v.policy.PolicySpec().Proxy
	switch {
	case proxy.AllowUserChange:
		return yes(v1alpha1.ReasonUserChangeAllowed, "proxy.allowUserChange: containers keep SETUID and SETGID, and root in them can become the proxy's user")
	case proxy.UID != nil:
		return yes(v1alpha1.ReasonUIDFixed, "proxy.uid: an image whose user is %d goes around the proxy; without the field each pod gets a user that nobody knows", *proxy.UID)
	}
	return no(v1alpha1.ReasonNone, "no guarantee is given up")
}

func (v *view) podSecurity() finding {
	var strict []string
	for _, ns := range v.namespaces {
		if level := ns.Labels[podSecurityLabel]; level != "" && level != "privileged" {
			strict = append(strict, ns.Name)
		}
	}
	if len(strict) > 0 {
		return no(v1alpha1.ReasonPrivilegedNeeded, "the init container needs NET_ADMIN, which the Pod Security level of these namespaces forbids: %s: label them %s=privileged", some(strict), podSecurityLabel)
	}
	return yes(v1alpha1.ReasonNone, "the Pod Security level of the selected namespaces allows the init container")
}

// some names the first of a list.
func some(list []string) string {
	if len(list) <= maxNamed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:maxNamed], ", "), len(list)-maxNamed)
}
