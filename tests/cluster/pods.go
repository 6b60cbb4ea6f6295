package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// poll is the pause between two looks at the API server.
const poll = 100 * time.Millisecond

// WaitPod waits until done holds for a pod. The error says what the pod was waiting for.
func (c *Cluster) WaitPod(ctx context.Context, namespace, name string, done func(*corev1.Pod) bool) (*corev1.Pod, error) {
	for {
		pod, err := c.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && done(pod) {
			return pod, nil
		}
		if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			return nil, fmt.Errorf("get pod %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for pod %s/%s: %w: %s", namespace, name, ctx.Err(), c.describe(namespace, name))
		case <-time.After(poll):
		}
	}
}

// Ready says whether a pod is ready.
func Ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Ended says whether a pod's containers have ended for good.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// describe is what kubectl describe says about a pod: its states and events.
func (c *Cluster) describe(namespace, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, _ := c.Kubectl(ctx, "-n", namespace, "describe", "pod", name)
	return string(out)
}

// Output is what a command in a container printed, and its exit code.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// String is both outputs.
func (o Output) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s%s(exit %d)", o.Stdout, o.Stderr, o.Code))
}

// Exec runs a command in a container. An exit code is no error.
func (c *Cluster) Exec(ctx context.Context, namespace, pod, container string, command ...string) (Output, error) {
	request := c.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", request.URL().String())
	if err != nil {
		return Output{}, err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	out := Output{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		out.Code = exit.Code
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("run %q in %s: %w", command, pod, err)
	}
	return out, nil
}

// Logs returns what a container has printed.
func (c *Cluster) Logs(ctx context.Context, namespace, pod, container string) (string, error) {
	stream, err := c.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("read the log of %s/%s: %w", pod, container, err)
	}
	defer func() { _ = stream.Close() }()
	out, err := io.ReadAll(stream)
	return string(out), err
}
