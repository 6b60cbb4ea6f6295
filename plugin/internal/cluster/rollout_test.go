package cluster

import (
	"encoding/json"
	"testing"
)

func TestRollout(t *testing.T) {
	tests := map[string]struct {
		resource, object string
		done             bool
	}{
		"all new":                    {"deployments", `{"metadata":{"generation":2},"spec":{"replicas":2},"status":{"observedGeneration":2,"replicas":2,"updatedReplicas":2,"availableReplicas":2}}`, true},
		"not seen":                   {"deployments", `{"metadata":{"generation":3},"spec":{"replicas":2},"status":{"observedGeneration":2,"replicas":2,"updatedReplicas":2,"availableReplicas":2}}`, false},
		"an old pod is left":         {"deployments", `{"metadata":{"generation":2},"spec":{"replicas":2},"status":{"observedGeneration":2,"replicas":3,"updatedReplicas":2,"availableReplicas":2}}`, false},
		"one does not work yet":      {"deployments", `{"metadata":{"generation":2},"spec":{"replicas":2},"status":{"observedGeneration":2,"replicas":2,"updatedReplicas":2,"availableReplicas":1}}`, false},
		"paused":                     {"deployments", `{"metadata":{"generation":2},"spec":{"replicas":2,"paused":true},"status":{"observedGeneration":2,"replicas":2}}`, true},
		"no replicas wanted":         {"deployments", `{"metadata":{"generation":2},"spec":{"replicas":0},"status":{"observedGeneration":2}}`, true},
		"a stateful set's partition": {"statefulsets", `{"spec":{"replicas":2,"updateStrategy":{"rollingUpdate":{"partition":1}}},"status":{"replicas":2,"updatedReplicas":1,"availableReplicas":2}}`, true},
		"a stateful set between two": {"statefulsets", `{"spec":{"replicas":2},"status":{"replicas":1,"updatedReplicas":1,"availableReplicas":1}}`, false},
		"by hand":                    {"daemonsets", `{"spec":{"updateStrategy":{"type":"OnDelete"}},"status":{"desiredNumberScheduled":2}}`, true},
		"a daemon set":               {"daemonsets", `{"status":{"desiredNumberScheduled":2,"currentNumberScheduled":2,"updatedNumberScheduled":1,"numberAvailable":2}}`, false},
		"a daemon set of no node":    {"daemonsets", `{"status":{}}`, true},
	}
	for name, tt := range tests {
		var w workloadState
		if err := json.Unmarshal([]byte(tt.object), &w); err != nil {
			t.Fatal(err)
		}
		if got := w.rollout(tt.resource); got.Done() != tt.done {
			t.Errorf("%s: done %v, want %v: %+v", name, got.Done(), tt.done, got)
		}
	}
}
