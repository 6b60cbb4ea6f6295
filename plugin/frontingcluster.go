package plugin

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/xds"
)

// attacked is a policy of the cluster, and what its pods run.
type attacked struct {
	client *cluster.Client
	chosen *chosen
	// families are those of the pods' configuration, as far as they can be told.
	families xds.Families
	// like is the pod that was named; nil if a policy was.
	like *corev1.Pod
}

// find compares the revision that each pod's Envoy shows with what the policy renders to, which is what is attacked.
func (o *frontingOptions) find(ctx context.Context, s *shell, name string) (*attacked, error) {
	client, err := s.cluster()
	if err != nil {
		return nil, err
	}
	t, err := parseTarget(name)
	if err != nil {
		return nil, err
	}
	out := &attacked{client: client, families: xds.DualStack}
	policy, pods, err := policyAndPods(ctx, client, t)
	if err != nil {
		return nil, err
	}
	namespace := cmp.Or(policy.GetNamespace(), client.Namespace)
	if out.chosen, err = o.policyOptions.fromCluster(ctx, s, client, policy, namespace); err != nil {
		return nil, err
	}
	for i := range pods {
		pod := look(ctx, client, &pods[i], out.chosen)
		if families, ok := pod.rendered[pod.sidecar.Revision]; ok {
			out.families = families
		}
		if tone, text := pod.state(); tone == ui.Good {
			fmt.Fprintln(s.ErrOut, s.errorPainter().Mark(ui.Good, text+": that is attacked"))
		} else {
			s.warn("%s; what is attacked is the policy as it is now", text)
		}
	}
	if t.kind == targetPod {
		out.like = &pods[0]
	}
	return out, ctx.Err()
}

// policyAndPods is the policy, and the pods that should run it.
func policyAndPods(ctx context.Context, client *cluster.Client, t target) (v1alpha1.Policy, []corev1.Pod, error) {
	if t.kind == targetPod {
		pod, err := readPod(ctx, client, client.Namespace, t.name)
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

// fromCluster brings a policy of the cluster into the lab of this machine. Nothing in the cluster is touched, and no credential
// leaves it.
func (o *frontingOptions) fromCluster(ctx context.Context, s *shell, name string, lab func(context.Context, *shell) error) error {
	found, err := o.find(ctx, s, name)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "netproxy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	inner, err := o.again(s, found.chosen, filepath.Join(dir, "policy.yaml"))
	if err != nil {
		return err
	}
	return lab(ctx, inner)
}

// again makes the same run of a file: inside of the lab there is no cluster.
func (o *frontingOptions) again(s *shell, c *chosen, file string) (*shell, error) {
	text, err := policyYAML(c.policy)
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
	for _, text := range rangeTexts(c.private) {
		inner.args = append(inner.args, "--"+rangeFlag, text)
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
