package inject

import (
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// Where things are in the injected containers.
const (
	binaryMount = "/netproxy/bin"
	trustMount  = "/netproxy/trust"
	policyMount = "/netproxy/policy-ca"
	dnsMount    = "/netproxy/dns"
)

// drainSeconds is how long what a policy took away may go on.
const drainSeconds = 10

// injected are netproxy's own init containers, in their order: first the packet filter, so that nothing runs before it.
func injected(in *Inputs, slots trust) []corev1.Container {
	out := []corev1.Container{captureContainer(in, slots)}
	for i := range slots.images {
		out = append(out, slots.container(i, in))
	}
	return append(out, proxyContainer(in))
}

// container has what the API server would fill in, so that a pod that comes back from it compares equal.
func container(name, image string, pull corev1.PullPolicy) corev1.Container {
	return corev1.Container{
		Name: name, Image: image, ImagePullPolicy: pull,
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

func captureContainer(in *Inputs, slots trust) corev1.Container {
	c := container(InitContainer, in.Images.Init, in.Images.pullPolicy())
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	c.Args = []string{
		"capture", "--uid=" + number(in.uid()),
		"--redirect-port=" + number(int64(in.Spec.Proxy.PortOrDefault())),
		"--admin-port=" + number(int64(in.Spec.Proxy.AdminPortOrDefault())),
		"--default-action=" + string(in.Spec.Egress.DefaultAction),
		"--trust-root=" + trustMount, "--dns=" + dnsMount,
	}
	c.VolumeMounts = []corev1.VolumeMount{
		{Name: volumeTrust, MountPath: trustMount},
		{Name: volumeDNS, MountPath: dnsMount},
	}
	if n := len(slots.images); n > 0 {
		c.Args = append(c.Args, "--share="+binaryMount, "--trust-slots="+strconv.Itoa(n))
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeBinary, MountPath: binaryMount})
	}
	c.Resources = smallResources()
	c.SecurityContext = capturing()
	return c
}

// capturing: NET_ADMIN, as root, is all that nftables needs; the container does not have to be privileged.
func capturing() *corev1.SecurityContext {
	out := confined()
	out.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	out.RunAsUser, out.RunAsGroup, out.RunAsNonRoot = new(int64(0)), new(int64(0)), new(false)
	return out
}

func proxyContainer(in *Inputs) corev1.Container {
	paths := xds.SidecarPaths()
	c := container(ProxyContainer, in.Images.Proxy, in.Images.pullPolicy())
	c.Command = []string{"envoy"}
	c.Args = []string{
		"-c", paths.Config + "/" + xds.BootstrapFile, "--drain-time-s", strconv.Itoa(drainSeconds), "--disable-hot-restart",
		"--file-flush-interval-msec", "500", "--concurrency", strconv.Itoa(concurrency(in.Resources)), "-l", "error",
	}
	c.Env = []corev1.EnvVar{fieldEnv("POD_NAME", "metadata.name"), fieldEnv("POD_NAMESPACE", "metadata.namespace")}
	c.Resources = corev1.ResourceRequirements{Requests: in.Resources.Requests, Limits: in.Resources.Limits}
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	c.StartupProbe = readyProbe(in, 1, 120)
	c.ReadinessProbe = readyProbe(in, 10, 3)
	c.SecurityContext = confined()
	c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup, c.SecurityContext.RunAsNonRoot = new(in.uid()), new(in.uid()), new(true)
	c.VolumeMounts = []corev1.VolumeMount{
		{Name: volumeConfig, MountPath: paths.Config, ReadOnly: true},
		{Name: volumeTLS, MountPath: paths.TLS, ReadOnly: true},
		{Name: volumeRun, MountPath: paths.Run},
		{Name: volumeTrust, MountPath: paths.Roots, SubPath: names.RootsDir, ReadOnly: true},
		// The kubelet mounts one hosts file, and the runtime one resolv.conf, into all containers, writable: root in the
		// application could tell Envoy where names are. Own mounts at these paths take their place.
		{Name: volumeDNS, MountPath: "/etc/resolv.conf", SubPath: names.ResolvConf, ReadOnly: true},
		{Name: volumeDNS, MountPath: "/etc/hosts", SubPath: names.Hosts, ReadOnly: true},
	}
	return c
}

// concurrency is one worker per CPU that the sidecar may use; Envoy's own default is one per CPU of the node.
func concurrency(r v1alpha1.Resources) int {
	cpu, ok := r.Limits[corev1.ResourceCPU]
	if !ok {
		return 2
	}
	return max(1, int(math.Ceil(cpu.AsApproximateFloat64())))
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func readyProbe(in *Inputs, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: xds.StatusReady, Port: intstr.FromInt32(in.Spec.Proxy.AdminPortOrDefault()), Scheme: corev1.URISchemeHTTP,
		}},
		TimeoutSeconds: 1, PeriodSeconds: period, SuccessThreshold: 1, FailureThreshold: failures,
	}
}

// confined is a container without any privilege.
func confined() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Privileged: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// smallResources are for containers that end at once. They are set, so that no LimitRange decides about them.
func smallResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
}
