package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// NodeContainer is the only container of a pod that looks into a node. Its termination message is a nodereport.Node.
const NodeContainer = "node"

// NodePodSelector finds such pods, should any be left.
const NodePodSelector = nodeLabel + "=" + nodeLabelled

const nodeLabel, nodeLabelled = "app.kubernetes.io/name", "netproxy-check"

// nodeSeconds is how long such a pod may run: it ends by itself, whatever becomes of the one who made it.
const nodeSeconds int64 = 120

// NodePod tries on a node what the init container of a protected pod does, with the same rights. It is to be put on a node by who
// submits it, and no taint keeps it off.
func NodePod(name, namespace, image string) *corev1.Pod {
	c := container(NodeContainer, image, corev1.PullIfNotPresent)
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	c.Args = []string{
		"node", "--uid=" + number(MinPodUID), "--redirect-port=" + number(int64(v1alpha1.DefaultProxyPort)),
		"--admin-port=" + number(int64(v1alpha1.DefaultAdminPort)), "--default-action=" + string(v1alpha1.ActionDeny),
	}
	c.Resources = smallResources()
	c.SecurityContext = capturing()
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{nodeLabel: nodeLabelled}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(nodeSeconds), TerminationGracePeriodSeconds: new(int64(1)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:  []corev1.Container{c},
		},
	}
}
