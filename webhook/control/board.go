package control

import (
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/render"
	"github.com/netproxy/netproxy/xds"
)

// Target is one policy in one namespace: what has a Secret.
type Target struct{ Kind, PolicyNamespace, Policy, Namespace string }

// targetOf is the policy's target in a namespace.
func targetOf(ref xds.PolicyRef, namespace string) Target {
	return Target{ref.Kind, ref.Namespace, ref.Name, namespace}
}

// Ref names the target's policy.
func (t Target) Ref() xds.PolicyRef {
	return xds.PolicyRef{Kind: t.Kind, Namespace: t.PolicyNamespace, Name: t.Policy}
}

// SecretKey is where the target's Secret is.
func (t Target) SecretKey() types.NamespacedName {
	return types.NamespacedName{Namespace: t.Namespace, Name: v1alpha1.SecretName(t.Kind, t.Policy)}
}

// Failure is why a target cannot be rendered. Its pods keep what they have.
type Failure struct{ Reason, Message string }

// Outcome is what a target's last reconciliation came to.
type Outcome struct {
	// Failure is nil if the Secret holds what the policy says now; otherwise what follows is zero.
	Failure *Failure
	// Revision is that of the Secret, the others are what a proxy has to show.
	Revision, ConfigRevision, LeafSerial string
	SecretVersions                       map[string]string
	LeafNotAfter, CANotAfter             time.Time
	// Issuer is the fingerprint of the CA in use; pods without it distrust the leaf.
	Issuer   string
	Problems []render.Problem
}

// Observation is what a pod's proxy said of itself.
type Observation struct {
	ConfigRevision, LeafSerial string
	SecretVersions             map[string]string
	// Refusals are Envoy's counts of what it did not take.
	Refusals map[string]string
	// Rejected is Envoy's reason for refusing a configuration, Unreachable the reason why nothing is known.
	Rejected, Unreachable string
}

// runs says whether the proxy has all that the outcome asks for.
func (o Observation) runs(want Outcome) bool {
	if o.Unreachable != "" || o.ConfigRevision != want.ConfigRevision || want.LeafSerial != "" && o.LeafSerial != want.LeafSerial {
		return false
	}
	for stat, version := range want.SecretVersions {
		if o.SecretVersions[stat] != version {
			return false
		}
	}
	return true
}

// podState is what is known of one pod's proxy.
type podState struct {
	Observation
	// For is the revision that the pod was last seen to run; empty while it does not.
	For string
	// past are the refusals until then: later ones are about something else.
	past map[string]string
	// bumped is when its annotation was last changed for the revision bumpedTo, for the nth time.
	bumpedTo string
	bumped   time.Time
	bumps    int
}

// board is what the controllers of one process know. It is lost with the process, and found out anew by the next.
type board struct {
	mu       sync.Mutex
	outcomes map[Target]Outcome
	done     map[Target]settled
	// released are policies without our finalizer, which caches may show for a moment longer.
	released map[xds.PolicyRef]types.UID
	pods     map[types.NamespacedName]podState

	// changedTargets and changedPolicies wake the controllers of pods and of status.
	changedTargets  chan event.TypedGenericEvent[Target]
	changedPolicies chan event.TypedGenericEvent[xds.PolicyRef]
}

func newBoard() *board {
	return &board{
		outcomes: map[Target]Outcome{}, done: map[Target]settled{}, released: map[xds.PolicyRef]types.UID{}, pods: map[types.NamespacedName]podState{},
		changedTargets: make(chan event.TypedGenericEvent[Target], 1024), changedPolicies: make(chan event.TypedGenericEvent[xds.PolicyRef], 1024),
	}
}

func (b *board) outcome(t Target) (Outcome, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.outcomes[t]
	return o, ok
}

func (b *board) setOutcome(t Target, o Outcome) {
	b.mu.Lock()
	was, known := b.outcomes[t]
	b.outcomes[t] = o
	b.mu.Unlock()
	if !known || was.Revision != o.Revision {
		b.changedTargets <- event.TypedGenericEvent[Target]{Object: t}
	}
	if !known || !reflect.DeepEqual(was, o) {
		b.wake(t.Ref())
	}
}

func (b *board) settle(t Target, s settled) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done[t] = s
}

func (b *board) unsettle(t Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.done, t)
}

func (b *board) settled(t Target) (settled, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.done[t]
	return s, ok
}

func (b *board) release(ref xds.PolicyRef, uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released[ref] = uid
}

func (b *board) isReleased(ref xds.PolicyRef, uid types.UID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.released[ref] == uid
}

// forgetPolicy is for one that does not exist any more.
func (b *board) forgetPolicy(ref xds.PolicyRef) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.released, ref)
}

func (b *board) forgetTarget(t Target) {
	b.mu.Lock()
	delete(b.outcomes, t)
	delete(b.done, t)
	b.mu.Unlock()
	b.wake(t.Ref())
}

// outcomesOf are the outcomes of a policy by namespace.
func (b *board) outcomesOf(ref xds.PolicyRef, namespaces []string) map[string]Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]Outcome{}
	for _, namespace := range namespaces {
		if o, ok := b.outcomes[targetOf(ref, namespace)]; ok {
			out[namespace] = o
		}
	}
	return out
}

func (b *board) pod(key types.NamespacedName) podState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pods[key]
}

func (b *board) setPod(key types.NamespacedName, s podState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pods[key] = s
}

func (b *board) forgetPod(key types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pods, key)
}

func (b *board) wake(ref xds.PolicyRef) {
	b.changedPolicies <- event.TypedGenericEvent[xds.PolicyRef]{Object: ref}
}
