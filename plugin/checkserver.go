package plugin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/setup"
)

const (
	// oldestTested is the minor version of the oldest of the three Kubernetes releases that are tested, oldestPossible of the
	// first one that restarts init containers (native sidecars).
	oldestTested   = 35
	oldestPossible = 29
	// oldestKernel can redirect in a table for both address families (Linux 5.2).
	oldestKernelMajor, oldestKernelMinor = 5, 2
)

const hintReinstall = "install or upgrade: kubectl netproxy install --apply --wait"

func (c *checker) server(ctx context.Context) bool {
	version, err := c.client.Version(ctx)
	if err != nil {
		c.problem("NP001", severityError, "see kubectl cluster-info, --context and --kubeconfig", "the API server does not answer: %s", firstLine(err.Error()))
		return false
	}
	minor, err := strconv.Atoi(strings.TrimRight(version.Minor, "+"))
	switch {
	case err != nil:
		c.ok("API server %s", version.GitVersion)
	case minor < oldestPossible:
		c.problem("NP002", severityError, fmt.Sprintf("upgrade to 1.%d or later: older ones have no native sidecars", oldestTested), "API server %s is too old", version.GitVersion)
	case minor < oldestTested:
		c.problem("NP002", severityWarning, fmt.Sprintf("upgrade to 1.%d or later", oldestTested), "API server %s is older than what netproxy is tested with", version.GitVersion)
	default:
		c.ok("API server %s", version.GitVersion)
	}
	return true
}

func (c *checker) kinds(ctx context.Context) bool {
	for _, kind := range []string{v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy} {
		name := v1alpha1.ResourceOf(kind) + "." + v1alpha1.Group
		_, err := c.mapper.Read(ctx, named("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name))
		switch {
		case apierrors.IsNotFound(err):
			c.problem("NP003", severityError, hintReinstall, "the cluster does not know %s: netproxy is not installed", kind)
			return false
		case err != nil:
			c.unreadable("CustomResourceDefinition "+name, err)
			return true
		}
	}
	c.ok("the cluster knows %s and %s", v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy)
	return true
}

// unreadable is something that cannot be looked at with the rights of the user.
func (c *checker) unreadable(what string, err error) {
	c.unread++
	c.problem("NP010", severityWarning, "ask for the right to read it, or let somebody run this who has it", "%s cannot be read: %s", what, firstLine(err.Error()))
}

func (c *checker) nodes(ctx context.Context) bool {
	nodes, err := c.client.Nodes(ctx)
	if err != nil {
		c.unreadable("the list of nodes", err)
		return true
	}
	good := 0
	for i := range nodes {
		info := &nodes[i].Status.NodeInfo
		switch {
		case info.OperatingSystem != "linux":
			c.problem("NP021", severityWarning, "keep protected pods off it with a nodeSelector", "node %s runs %s: pods there cannot have a proxy", nodes[i].Name, info.OperatingSystem)
		case oldKernel(info.KernelVersion):
			c.problem("NP021", severityError, fmt.Sprintf("upgrade it to Linux %d.%d or later", oldestKernelMajor, oldestKernelMinor),
				"node %s has Linux %s: the packet filter of a pod cannot redirect both address families", nodes[i].Name, info.KernelVersion)
		default:
			good++
		}
	}
	if good > 0 {
		c.ok("%d nodes run a Linux that protected pods can have", good)
	}
	return true
}

func oldKernel(version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < oldestKernelMajor || major == oldestKernelMajor && minor < oldestKernelMinor
}

// mayInstall asks for what install writes.
func (c *checker) mayInstall(ctx context.Context) bool {
	return c.may(ctx, "an installation", [][4]string{
		{"create", "apiextensions.k8s.io", "customresourcedefinitions", ""}, {"create", "rbac.authorization.k8s.io", "clusterroles", ""},
		{"create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""}, {"create", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""},
		{"create", "", "namespaces", ""}, {"create", "apps", "deployments", c.options.Namespace},
	})
}

// rights asks for what the verbs need.
func (c *checker) rights(ctx context.Context) bool {
	namespace := c.client.Namespace
	return c.may(ctx, "the verbs of this program", [][4]string{
		{"patch", v1alpha1.Group, "egresspolicies", namespace}, {"list", "", "pods", namespace},
		{"get", "", "pods/proxy", namespace}, {"get", "", "pods/log", namespace},
	})
}

func (c *checker) may(ctx context.Context, what string, rights [][4]string) bool {
	var missing []string
	for _, r := range rights {
		allowed, err := c.client.May(ctx, r[0], r[1], r[2], r[3])
		if err != nil {
			c.unreadable("what you may do", err)
			return true
		}
		if !allowed {
			missing = append(missing, r[0]+" "+strings.TrimSuffix(r[2]+"."+r[1], "."))
		}
	}
	if len(missing) > 0 {
		c.problem("NP010", severityWarning, "ask for these rights", "rights are missing for %s: %s", what, strings.Join(missing, ", "))
		return true
	}
	c.ok("you have the rights for %s", what)
	return true
}

// namespaceLevels: the init container needs a capability that Pod Security may forbid.
func (c *checker) namespaceLevels(ctx context.Context) bool {
	namespaces, err := c.client.Namespaces(ctx, "")
	if err != nil {
		c.unreadable("the list of namespaces", err)
		return true
	}
	var strict []string
	for i := range namespaces {
		level := namespaces[i].Labels["pod-security.kubernetes.io/enforce"]
		if level != "" && level != "privileged" && !v1alpha1.IsSystemNamespace(namespaces[i].Name, c.options.Namespace) {
			strict = append(strict, namespaces[i].Name)
		}
	}
	if len(strict) > 0 {
		c.problem("NP032", severityWarning, "label those that shall have policies pod-security.kubernetes.io/enforce=privileged; netproxy refuses in their pods what it cannot hold: see docs/security-model.md",
			"the Pod Security level forbids the init container's NET_ADMIN in: %s", strings.Join(strict, ", "))
		return true
	}
	c.ok("no namespace's Pod Security level is in the way")
	return true
}

// deployment looks at netproxy's own pods.
func (c *checker) deployment(ctx context.Context) bool {
	missing, err := c.replicas(ctx)
	switch {
	case apierrors.IsNotFound(err):
		c.problem("NP004", severityError, hintReinstall+", or name its namespace with --set namespace=", "there is no Deployment %s in namespace %s", setup.Deployment, c.options.Namespace)
	case err != nil:
		c.unreadable("the Deployment "+setup.Deployment, err)
	case missing != "":
		c.problem("NP005", severityError, "kubectl describe pods -n "+c.options.Namespace, "%s", missing)
	default:
		c.ok("the webhook's replicas are available")
	}
	return true
}

func (c *checker) replicas(ctx context.Context) (string, error) {
	deployment, err := c.mapper.Read(ctx, named("apps/v1", "Deployment", c.options.Namespace, setup.Deployment))
	if err != nil {
		return "", err
	}
	wanted, available := countReplicas(deployment)
	if wanted == 0 {
		return "the webhook is scaled to 0: pods with a policy cannot start, and nothing changes any more", nil
	}
	if available < wanted {
		return fmt.Sprintf("%d of %d replicas of the webhook are available", available, wanted), nil
	}
	return "", nil
}

// running are the pods that run, of a list.
func running(pods []corev1.Pod) []corev1.Pod {
	var out []corev1.Pod
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			out = append(out, pod)
		}
	}
	return out
}
