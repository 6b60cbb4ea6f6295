package cluster

import (
	"context"
	"encoding/json"
	"fmt"
)

// Rollout is how far a Deployment, StatefulSet or DaemonSet has come with its newest pod template.
type Rollout struct {
	// Wanted pods there should be, Updated are of the newest template, Available of these work, Old are there still.
	Wanted, Updated, Available, Old int64
	// Seen says that the controller knows the template.
	Seen bool
	// ByHand says that nothing replaces pods by itself.
	ByHand bool
}

// Done says that all pods are of the newest template and work, or that it is not up to the controller.
func (r Rollout) Done() bool {
	return r.ByHand || r.Seen && r.Updated >= r.Wanted && r.Available >= r.Wanted && r.Old == 0
}

// workloadState are the parts of the three kinds that count.
type workloadState struct {
	Metadata struct{ Generation int64 }
	Spec     struct {
		Replicas       *int64
		Paused         bool
		UpdateStrategy struct {
			Type          string
			RollingUpdate struct{ Partition int64 }
		}
	}
	Status struct {
		ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas                        int64
		DesiredNumberScheduled, CurrentNumberScheduled, UpdatedNumberScheduled, NumberAvailable int64
	}
}

// ReadRollout reads it; resource is deployments, statefulsets or daemonsets.
func (c *Client) ReadRollout(ctx context.Context, resource, namespace, name string) (Rollout, error) {
	data, err := body(c.core.Get().AbsPath("/apis/apps/v1/namespaces", namespace, resource, name).Do(ctx))
	if err != nil {
		return Rollout{}, err
	}
	var w workloadState
	if err := json.Unmarshal(data, &w); err != nil {
		return Rollout{}, fmt.Errorf("reading %s %s/%s: %w", resource, namespace, name, err)
	}
	return w.rollout(resource), nil
}

func (w *workloadState) rollout(resource string) Rollout {
	s := w.Status
	out := Rollout{
		Wanted: 1, Updated: s.UpdatedReplicas, Available: s.AvailableReplicas, Old: max(0, s.Replicas-s.UpdatedReplicas), // 1 is the API server's default
		Seen:   s.ObservedGeneration >= w.Metadata.Generation,
		ByHand: w.Spec.Paused || w.Spec.UpdateStrategy.Type == "OnDelete" || w.Spec.UpdateStrategy.RollingUpdate.Partition > 0,
	}
	if w.Spec.Replicas != nil {
		out.Wanted = *w.Spec.Replicas
	}
	if resource == "daemonsets" {
		out.Wanted, out.Updated, out.Available = s.DesiredNumberScheduled, s.UpdatedNumberScheduled, s.NumberAvailable
		out.Old = max(0, s.CurrentNumberScheduled-s.UpdatedNumberScheduled)
	}
	return out
}
