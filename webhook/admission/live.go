package admission

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/control"
	"github.com/netproxy/netproxy/webhook/selection"
)

// matching are the policies that want a pod, the winner first. Before it says that there is none it asks the API server itself: a policy
// that was created just before the pod, in the same kubectl apply perhaps, may not be in the cache yet.
func (s *server) matching(ctx context.Context, ns selection.Namespace, podLabels map[string]string) ([]v1alpha1.Policy, error) {
	cached, err := control.Policies(ctx, s.reader, ns.Name)
	if err != nil {
		return nil, err
	}
	if found := selection.Matching(cached, ns, s.Namespace, podLabels); len(found) > 0 {
		return found, nil
	}
	fresh, err := s.isFresh(ctx, cached, ns.Name)
	if err != nil || fresh {
		return nil, err
	}
	now, err := control.Policies(ctx, s.live, ns.Name)
	if err != nil {
		return nil, err
	}
	return selection.Matching(now, ns, s.Namespace, podLabels), nil
}

// edition is one text of a policy.
type edition struct {
	uid        types.UID
	generation int64
}

// isFresh says whether the API server has no policy, and no change of one, that is not among those cached. It asks for metadata only,
// which costs a tenth of the policies themselves.
func (s *server) isFresh(ctx context.Context, cached []v1alpha1.Policy, namespace string) (bool, error) {
	known := make(map[edition]bool, len(cached))
	for _, p := range cached {
		known[edition{p.GetUID(), p.GetGeneration()}] = true
	}
	var lists [2]metav1.PartialObjectMetadataList
	group, ctx := errgroup.WithContext(ctx)
	for i, kind := range []string{v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy} {
		lists[i].TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind + "List"}
		group.Go(func() error {
			var options []client.ListOption
			if kind == v1alpha1.KindEgressPolicy {
				options = append(options, client.InNamespace(namespace))
			}
			if err := s.live.List(ctx, &lists[i], options...); err != nil {
				return fmt.Errorf("list %s: %w", kind, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	for _, list := range lists {
		for i := range list.Items {
			if !known[edition{list.Items[i].UID, list.Items[i].Generation}] {
				return false, nil
			}
		}
	}
	return true, nil
}
