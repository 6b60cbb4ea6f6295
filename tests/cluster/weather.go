package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ScaleWebhook sets the number of netproxy's replicas and waits until they are ready, or gone.
func (c *Cluster) ScaleWebhook(ctx context.Context, replicas int) error {
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	if _, err := c.Client.AppsV1().Deployments(System).Patch(ctx, Webhook, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("scale netproxy: %w", err)
	}
	if err := c.WaitDeployment(ctx, System, Webhook); err != nil || replicas > 0 {
		return err
	}
	for {
		pods, err := c.Client.CoreV1().Pods(System).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list netproxy's pods: %w", err)
		}
		if len(pods.Items) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until netproxy is gone: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
}

// Leader is the pod of netproxy that runs the controllers.
func (c *Cluster) Leader(ctx context.Context) (string, error) {
	lease, err := c.Client.CoordinationV1().Leases(System).Get(ctx, Webhook, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read the lease: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return "", nil
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod, nil
}

// RestartAPIServer kills the API server and waits until its successor serves. root is the root of the repository.
func (c *Cluster) RestartAPIServer(ctx context.Context, root string) error {
	before, err := os.ReadFile(filepath.Join(c.State, "apiserver.pid"))
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	cmd := exec.CommandContext(ctx, "bash", "tests/cluster/apiserver.sh")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CLUSTER_ID="+filepath.Base(c.State))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kill the API server: %w\n%s", err, out)
	}
	for {
		now, _ := os.ReadFile(filepath.Join(c.State, "apiserver.pid"))
		if string(now) != string(before) {
			if _, err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
}

// KillProcesses ends a pod's processes of a program, as a crash does, without anybody being told.
func KillProcesses(pod *corev1.Pod, program string) error {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	killed := 0
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cgroup"))
		// The kernel keeps 15 bytes of a program's name.
		if strings.TrimSpace(string(comm)) != program[:min(15, len(program))] || !strings.Contains(string(groups), string(pod.UID)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return err
		}
		process, err := os.FindProcess(pid)
		if err == nil {
			err = process.Kill()
		}
		if err != nil {
			return fmt.Errorf("kill %s of pod %s: %w", program, pod.Name, err)
		}
		killed++
	}
	if killed == 0 {
		return fmt.Errorf("pod %s has no process %s", pod.Name, program)
	}
	return nil
}
