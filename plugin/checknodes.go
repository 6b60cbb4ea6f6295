package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

const (
	// nodePrefix begins the names of the pods that look into nodes.
	nodePrefix = "netproxy-check-"
	// nodesAtOnce bounds what the cluster is asked for at the same time.
	nodesAtOnce = 8
	// watchesOfProxy are a proxy's inotify instances without credentials: 5 with interception (Envoy 1.40), and some to spare.
	watchesOfProxy = 8
	// watchesAtMost are those of a proxy with as many credentials as a policy can have. Each pod has a user of its own, whose limit
	// it has for itself.
	watchesAtMost = watchesOfProxy + v1alpha1.MaxCredentials
)

// nodeLook is what came of one node.
type nodeLook struct {
	node, pod string
	report    nodereport.Node
	err       error
}

// insideNodes runs a pod on each node that could have protected pods, and says what these found.
func (c *checker) insideNodes(ctx context.Context, timeout time.Duration) {
	nodes, err := c.client.Nodes(ctx)
	if err != nil {
		c.unreadable("the list of nodes", err)
		return
	}
	image, err := c.initImage(ctx)
	if err != nil {
		c.unreadable("which image netproxy-init has", err)
		return
	}
	looks := c.eligible(nodes)
	fmt.Fprintf(c.ErrOut, "  looking into %d nodes, each with a pod %s... in namespace %s\n", len(looks), nodePrefix, c.client.Namespace)
	c.sweepNodePods(ctx)
	var group sync.WaitGroup
	slots := make(chan struct{}, nodesAtOnce)
	for i := range looks {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			looks[i].report, looks[i].err = c.insideNode(ctx, looks[i], image, timeout)
		})
	}
	group.Wait()
	c.judgeNodes(looks)
}

// sweepNodePods deletes what a run left that was killed.
func (c *checker) sweepNodePods(ctx context.Context) {
	pods, err := c.client.Pods(ctx, c.client.Namespace, inject.NodePodSelector)
	if err != nil {
		return // the next request says why
	}
	for i := range pods {
		if ended(&pods[i]) && strings.HasPrefix(pods[i].Name, nodePrefix) {
			_ = c.client.DeletePod(ctx, pods[i].Namespace, pods[i].Name) // the next run tries again
		}
	}
}

// eligible are the nodes that can be looked into, with a name for the pod of each.
func (c *checker) eligible(nodes []corev1.Node) []nodeLook {
	var out []nodeLook
	for i := range nodes {
		node := &nodes[i]
		if node.Status.NodeInfo.OperatingSystem != "linux" {
			continue
		}
		name, err := podName(nodePrefix, c.rand)
		switch {
		case err != nil:
			c.notChecked(node.Name, err)
		case !isReady(node):
			c.notChecked(node.Name, errors.New("it is not ready"))
		default:
			out = append(out, nodeLook{node: node.Name, pod: name})
		}
	}
	return out
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// initImage is what the cluster's webhook puts into pods, or what an installation would.
func (c *checker) initImage(ctx context.Context) (string, error) {
	deployment, err := c.mapper.Read(ctx, named("apps/v1", "Deployment", c.options.Namespace, setup.Deployment))
	if err == nil && c.options.Images["init"] == "" {
		return setup.InitImage(deployment), nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	objects, err := installation(c.shell, c.options)
	if err != nil {
		return "", err
	}
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			return setup.InitImage(object), nil
		}
	}
	return "", errors.New("the installation has no Deployment")
}

// insideNode makes the pod, waits for its report, and deletes it in every case.
func (c *checker) insideNode(ctx context.Context, look nodeLook, image string, timeout time.Duration) (report nodereport.Node, err error) {
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	namespace := c.client.Namespace
	pod := inject.NodePod(look.pod, namespace, image)
	pod.Spec.Affinity = onNode(look.node)
	_, err = c.client.CreatePod(ctx, pod)
	var refusal apierrors.APIStatus
	if errors.As(err, &refusal) {
		return report, fmt.Errorf("creating pod %s/%s: %w", namespace, look.pod, err)
	}
	// Without an answer nobody knows whether it is there.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		if gone := c.client.DeletePod(ctx, namespace, look.pod); gone != nil {
			c.warn("pod %s/%s could not be deleted: %s: kubectl delete pod %s -n %s", namespace, look.pod, firstLine(gone.Error()), look.pod, namespace)
		}
	}()
	if err != nil {
		return report, fmt.Errorf("creating pod %s/%s: %w", namespace, look.pod, err)
	}
	return c.reportOf(ctx, look.pod, c.now().Add(timeout))
}

// reportOf waits for the pod's last word.
func (c *checker) reportOf(ctx context.Context, name string, deadline time.Time) (report nodereport.Node, err error) {
	for {
		pod, err := c.client.Pod(ctx, c.client.Namespace, name)
		if err != nil {
			return report, fmt.Errorf("reading its pod: %w", err)
		}
		if state := stateOf(pod, inject.NodeContainer); state != nil && state.Terminated != nil && state.Terminated.ExitCode == 0 {
			if err := json.Unmarshal([]byte(state.Terminated.Message), &report); err != nil {
				return report, fmt.Errorf("its pod said %q: the image is of another version", state.Terminated.Message)
			}
			return report, nil
		}
		if err := podTrouble(pod, "its pod"); err != nil {
			return report, err
		}
		if !c.now().Before(deadline) {
			return report, fmt.Errorf("time is up: %s: give it more with --timeout", podWaitsFor(pod))
		}
		if err := c.wait(ctx, followEvery); err != nil {
			return report, err
		}
	}
}

const hintNodePod = "choose a namespace with -n that allows NET_ADMIN and has no policy, and --set images.init= if the image is elsewhere; or look at the node yourself"

// notChecked: what nobody knows is no error of the node.
func (c *checker) notChecked(node string, err error) {
	c.problem("NP026", severityWarning, hintNodePod, "node %s could not be looked into: %s", node, firstLine(err.Error()))
}

func (c *checker) judgeNodes(looks []nodeLook) {
	good := 0
	for _, look := range looks {
		before := len(c.findings)
		if look.err != nil {
			c.notChecked(look.node, look.err)
			continue
		}
		c.judgeFilter(look.node, &look.report)
		c.judgeLimits(look.node, &look.report)
		if len(c.findings) == before {
			good++
		}
	}
	if good > 0 {
		c.ok("%d nodes redirect connections and have enough inotify instances", good)
	}
}

func (c *checker) judgeFilter(node string, report *nodereport.Node) {
	if report.Filter != "" {
		c.problem("NP023", severityError, "load the kernel modules nf_tables, nft_nat, nft_redir, nft_reject_inet and nft_ct there, or keep protected pods off it with a nodeSelector",
			"node %s (Linux %s): the packet filter of a pod cannot be programmed: %s", node, report.Kernel, report.Filter)
		return
	}
	for _, r := range report.Redirects {
		if r.Trouble != "" {
			c.problem("NP024", severityError, "look for what else writes packet filter rules in pods (a service mesh, a CNI plug-in), and load the kernel modules nf_nat and nf_conntrack",
				"node %s (Linux %s): connections over %s are not redirected: %s", node, report.Kernel, r.Family, r.Trouble)
		}
	}
	if len(report.Redirects) == 0 {
		c.notChecked(node, errors.New("its pod has no route to anywhere, so that nothing could be redirected"))
	}
}

func (c *checker) judgeLimits(node string, report *nodereport.Node) {
	var low []string
	for _, limit := range []struct {
		name  string
		value int
	}{{"max_user_instances", report.MaxUserInstances}, {"max_user_watches", report.MaxUserWatches}} {
		switch {
		case limit.value == 0:
			c.notChecked(node, fmt.Errorf("fs.inotify.%s cannot be read there", limit.name))
		case limit.value < watchesAtMost:
			low = append(low, fmt.Sprintf("fs.inotify.%s is %d", limit.name, limit.value))
		}
	}
	if len(low) > 0 {
		c.problem("NP025", severityWarning, fmt.Sprintf("raise it there to %d or more: sysctl", watchesAtMost),
			"node %s: %s; a proxy takes up to %d, and one more for each credential of its policy, %d at most", node, strings.Join(low, ", "), watchesOfProxy, watchesAtMost)
	}
}
