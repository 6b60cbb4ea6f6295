// Package control keeps the cluster as the policies want it: a Secret per policy and namespace, pods that have its newest revision, namespaces
// in which admission fails closed, and a status that tells the truth.
package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// FieldOwner is the field manager of everything that netproxy writes.
const FieldOwner = client.FieldOwner("netproxy")

// Options set the controllers up.
type Options struct {
	// Namespace is netproxy's own.
	Namespace string
	Families  xds.Families
	// Workers is how many policies are worked on at once; 0 means 8.
	Workers int
}

// cluster is what all controllers share.
type cluster struct {
	Options
	client.Reader // answers from caches; what comes out of them is shared and must not be changed
	client.Writer
	client.StatusClient
	live     client.Reader
	defaults cache.Cache
	events   events.EventRecorder
	board    *board
	locks    keyedLocks
	clock    func() time.Time
	rand     io.Reader
}

// Setup adds the controllers to the manager. They run in the leader only.
func Setup(ctx context.Context, mgr manager.Manager, cached Reader, options Options) error {
	if options.Workers == 0 {
		options.Workers = 8
	}
	c := &cluster{
		Options: options, Reader: cached, defaults: cached.defaults, Writer: mgr.GetClient(), StatusClient: mgr.GetClient(), live: mgr.GetAPIReader(),
		events: mgr.GetEventRecorder("netproxy"), board: newBoard(), clock: time.Now, rand: rand.Reader,
	}
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	for _, add := range []func(manager.Manager) error{c.addTargets, c.addPods, c.addNamespaces, c.addStatus} {
		if err := add(mgr); err != nil {
			return fmt.Errorf("set up controllers: %w", err)
		}
	}
	return nil
}

func (c *cluster) policy(ctx context.Context, ref xds.PolicyRef) (v1alpha1.Policy, error) {
	return Policy(ctx, c.Reader, ref)
}

// Policy is nil if it does not exist.
func Policy(ctx context.Context, reader client.Reader, ref xds.PolicyRef) (v1alpha1.Policy, error) {
	var policy v1alpha1.Policy = &v1alpha1.EgressPolicy{}
	if ref.Kind == v1alpha1.KindClusterEgressPolicy {
		policy = &v1alpha1.ClusterEgressPolicy{}
	}
	err := reader.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, policy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return policy, nil
}

// policiesFor are those that can select pods of the namespace; of all namespaces if it is empty.
func (c *cluster) policiesFor(ctx context.Context, namespace string) ([]v1alpha1.Policy, error) {
	return Policies(ctx, c.Reader, namespace)
}

// Policies lists cluster-wide policies and those of a namespace, of every namespace if it is empty.
func Policies(ctx context.Context, reader client.Reader, namespace string) ([]v1alpha1.Policy, error) {
	var own v1alpha1.EgressPolicyList
	if err := reader.List(ctx, &own, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	var wide v1alpha1.ClusterEgressPolicyList
	if err := reader.List(ctx, &wide); err != nil {
		return nil, fmt.Errorf("list cluster-wide policies: %w", err)
	}
	out := make([]v1alpha1.Policy, 0, len(own.Items)+len(wide.Items))
	for i := range wide.Items {
		out = append(out, &wide.Items[i])
	}
	for i := range own.Items {
		out = append(out, &own.Items[i])
	}
	return out, nil
}

// metadata is an object of which only the metadata is read and cached.
func metadata(kind string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
}

func metadataList(kind string) *metav1.PartialObjectMetadataList {
	return &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind + "List"}}
}

// namespaces lists all, as selectors see them.
func (c *cluster) namespaces(ctx context.Context) ([]selection.Namespace, error) {
	list := metadataList("Namespace")
	if err := c.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	out := make([]selection.Namespace, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, selection.Namespace{Name: list.Items[i].Name, Labels: list.Items[i].Labels})
	}
	return out, nil
}

// podsOf lists the pods that carry the policy, in one namespace or, if it is empty, in all.
func (c *cluster) podsOf(ctx context.Context, ref xds.PolicyRef, namespace string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{podPolicyIndex: policyKey(ref.Kind, ref.Name)})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", ref, err)
	}
	if ref.Namespace == "" {
		return list.Items, nil
	}
	own := list.Items[:0:0]
	for i := range list.Items {
		if list.Items[i].Namespace == ref.Namespace {
			own = append(own, list.Items[i])
		}
	}
	return own, nil
}

// keyedLocks keep two workers from moving the same CA.
type keyedLocks struct{ locks sync.Map }

func (k *keyedLocks) lock(key any) (unlock func()) {
	value, _ := k.locks.LoadOrStore(key, &sync.Mutex{})
	mutex := value.(*sync.Mutex)
	mutex.Lock()
	return mutex.Unlock
}
