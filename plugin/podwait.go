package plugin

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pods that a verb makes for itself, and deletes again.

// cleanUpTime is how long an interrupted run may take to delete what it made.
const cleanUpTime = 15 * time.Second

// podName draws a name.
func podName(prefix string, rand io.Reader) (string, error) {
	const letters, length = "bcdfghjklmnpqrstvwxz2456789", 6
	b := make([]byte, length)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", fmt.Errorf("naming a pod: %w", err)
	}
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return prefix + string(b), nil
}

// onNode lets the scheduler put a pod on one node and no other.
func onNode(node string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
		}}},
	}}}
}

// stateOf is nil for a container that the kubelet has said nothing about.
func stateOf(pod *corev1.Pod, container string) *corev1.ContainerState {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i].State
			}
		}
	}
	return nil
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// podWaitsFor is the first thing that is not there yet; empty if all containers have started.
func podWaitsFor(pod *corev1.Pod) string {
	if pod.Spec.NodeName == "" {
		return "waiting for a node"
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		state := stateOf(pod, c.Name)
		switch {
		case state == nil:
			return "waiting for container " + c.Name
		case state.Waiting != nil:
			return strings.TrimSpace("waiting for container " + c.Name + " " + state.Waiting.Reason)
		}
	}
	return ""
}

// podTrouble is what does not go by itself. what names the pod, such as "the probe pod".
func podTrouble(pod *corev1.Pod, what string) error {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return fmt.Errorf("no node takes %s: %s", what, condition.Message)
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		state := stateOf(pod, c.Name)
		switch {
		case state == nil:
		case state.Waiting != nil && hopeless(state.Waiting.Reason):
			return fmt.Errorf("container %s of %s: %s: %s", c.Name, what, state.Waiting.Reason, state.Waiting.Message)
		case state.Terminated != nil && state.Terminated.ExitCode != 0 && ended(pod):
			return fmt.Errorf("container %s of %s ended with %d: %s", c.Name, what, state.Terminated.ExitCode, strings.TrimSpace(state.Terminated.Message))
		}
	}
	if ended(pod) {
		return fmt.Errorf("%s ended before it was done: %s %s", what, pod.Status.Reason, pod.Status.Message)
	}
	return nil
}

// hopeless are the reasons that the kubelet gives for what somebody has to mend.
func hopeless(reason string) bool {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return true
	}
	return false
}
