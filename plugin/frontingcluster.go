package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

// fromCluster brings a policy of the cluster into the lab. What is attacked there is what its pods run: the revision that each
// Envoy shows is the one that the lab renders. Nothing in the cluster is touched, and no credential leaves it.
func (o *frontingOptions) fromCluster(ctx context.Context, s *shell, name string, lab func(context.Context, *shell) error) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	t, err := parseTarget(name)
	if err != nil {
		return err
	}
	policy, pods, err := attacked(ctx, client, t)
	if err != nil {
		return err
	}
	c, err := compile(objects{where: "the cluster"}, policy, policy.GetNamespace())
	if err != nil {
		return err
	}
	for i := range pods {
		pod := look(ctx, client, &pods[i], c)
		if tone, text := pod.state(); tone == ui.Good {
			fmt.Fprintln(s.ErrOut, s.errorPainter().Mark(ui.Good, text+": that is attacked"))
		} else {
			s.warn("%s; what is attacked is the policy as it is now", text)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	dir, err := os.MkdirTemp("", "netproxy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	inner, err := o.again(s, policy, filepath.Join(dir, "policy.yaml"))
	if err != nil {
		return err
	}
	return lab(ctx, inner)
}

// attacked is the policy, and the pods that should run it.
func attacked(ctx context.Context, client *cluster.Client, t target) (v1alpha1.Policy, []corev1.Pod, error) {
	if t.kind == targetPod {
		pod, err := client.Pod(ctx, client.Namespace, t.name)
		if err != nil {
			return nil, nil, err
		}
		policy, err := policyOfPod(ctx, client, pod)
		return policy, []corev1.Pod{*pod}, err
	}
	policy, err := t.policy(ctx, client)
	if err != nil {
		return nil, nil, err
	}
	pods, err := client.Pods(ctx, policy.GetNamespace(), podsOf(policy))
	return policy, running(pods), err
}

// again makes the same run of a file: inside of the lab there is no cluster.
func (o *frontingOptions) again(s *shell, policy v1alpha1.Policy, file string) (*shell, error) {
	text, err := policyYAML(policy)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(text), fileMode); err != nil {
		return nil, err
	}
	inner := *s
	inner.args = []string{"test-fronting", "--local", "--envoy", o.Envoy, "--color", s.color, "-f", file}
	for _, only := range o.Only {
		inner.args = append(inner.args, "--only", only)
	}
	for _, name := range o.Filenames {
		inner.args = append(inner.args, "-f", name)
	}
	if o.Output != "" {
		inner.args = append(inner.args, "-o", string(o.Output))
	}
	if o.JUnit != "" {
		inner.args = append(inner.args, "--junit", o.JUnit)
	}
	return &inner, nil
}
