package inject

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// refuse lists what makes a pod impossible to protect.
func refuse(pod *corev1.Pod, in *Inputs) field.ErrorList {
	root := field.NewPath("spec")
	errs := append(refuseProbe(pod, in), refusePodFields(&pod.Spec, in, root)...)
	if in.Probe != "" {
		return append(errs, SecretReferences(pod, nil)...) // no volume or container of the user's is left
	}
	for i := range pod.Spec.Volumes {
		errs = append(errs, refuseVolume(&pod.Spec.Volumes[i], root.Child("volumes").Index(i))...)
	}
	lists := map[string][]corev1.Container{"initContainers": pod.Spec.InitContainers, "containers": pod.Spec.Containers}
	for _, name := range []string{"initContainers", "containers"} {
		for i := range lists[name] {
			errs = append(errs, refuseContainer(&lists[name][i], in, root.Child(name).Index(i))...)
		}
	}
	return append(errs, SecretReferences(pod, nil)...)
}

func refusePodFields(spec *corev1.PodSpec, in *Inputs, root *field.Path) field.ErrorList {
	var errs field.ErrorList
	forbid := func(child, detail string) { errs = append(errs, field.Forbidden(root.Child(child), detail)) }
	if spec.HostNetwork {
		forbid("hostNetwork", "the node's network cannot be filtered for one pod; remove hostNetwork, or take the pod out of the policy's podSelector")
	}
	if spec.HostPID {
		forbid("hostPID", "the node's processes lead around the packet filter; remove hostPID")
	}
	if spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace {
		forbid("shareProcessNamespace", "the application could read the proxy's memory and files; remove the field")
	}
	if spec.OS != nil && spec.OS.Name == corev1.Windows {
		forbid("os", "pods on Windows cannot be filtered; take the pod out of the policy's podSelector")
	}
	if s := spec.SecurityContext; s != nil && s.RunAsUser != nil && *s.RunAsUser == in.uid() {
		errs = append(errs, field.Invalid(root.Child("securityContext", "runAsUser"), *s.RunAsUser, "is the proxy's user, whose traffic is not filtered; choose another"))
	}
	// Under Allow any resolver can be asked anyway.
	if d := spec.DNSConfig; d != nil && len(d.Nameservers) > 0 && in.Spec.Egress.DefaultAction == v1alpha1.ActionDeny {
		forbid("dnsConfig", "nameservers of the pod's own would open a way out through DNS; remove dnsConfig.nameservers, so that the cluster's resolver is asked")
	}
	return errs
}

// protectedPaths are directories of the node in which volumes, sockets and processes of other containers lie.
func protectedPaths() []string {
	return []string{
		"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/docker", "/var/lib/containers", "/var/lib/rancher", "/proc", "/etc/kubernetes", "/etc/cni",
		"/opt/cni", "/run/containerd", "/run/crio", "/run/docker.sock", "/run/k3s", "/run/netns", "/var/run/containerd", "/var/run/crio",
		"/var/run/docker.sock", "/var/run/netns",
	}
}

func refuseVolume(v *corev1.Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if slices.Contains(volumeNames(), v.Name) {
		errs = append(errs, field.Invalid(at.Child("name"), v.Name, "is the name of a volume of netproxy's; choose another"))
	}
	if v.HostPath == nil {
		return errs
	}
	dir := path.Clean("/" + v.HostPath.Path)
	if slices.ContainsFunc(protectedPaths(), func(p string) bool { return within(dir, p) || within(p, dir) }) {
		errs = append(errs, field.Invalid(at.Child("hostPath", "path"), v.HostPath.Path,
			"leads to the files or sockets of the kubelet or the container runtime, and so to the proxy's; mount something narrower, or take the pod out of the policy's podSelector"))
	}
	return errs
}

func within(dir, parent string) bool {
	return dir == parent || parent == "/" || strings.HasPrefix(dir, parent+"/")
}

func refuseContainer(c *corev1.Container, in *Inputs, at *field.Path) field.ErrorList {
	errs := refuseSecurity(c.SecurityContext, in, at.Child("securityContext"))
	if IsReserved(c.Name) {
		errs = append(errs, field.Invalid(at.Child("name"), c.Name, "is the name of a container of netproxy's; choose another"))
	}
	for i, p := range c.Ports {
		if p.ContainerPort == in.Spec.Proxy.PortOrDefault() || p.ContainerPort == in.Spec.Proxy.AdminPortOrDefault() {
			errs = append(errs, field.Invalid(at.Child("ports").Index(i).Child("containerPort"), p.ContainerPort,
				"is a port of the proxy's; choose another, or set proxy.port and proxy.adminPort in a new policy"))
		}
	}
	for i, m := range c.VolumeMounts {
		if m.Name != volumeTrust && slices.Contains(volumeNames(), m.Name) {
			errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(i), "volume "+m.Name+" is the proxy's alone; remove the mount"))
		}
		if (m.Name == volumeTrust) != (m.MountPath == bundleMount) || m.Name == volumeTrust && !m.ReadOnly {
			errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(i), "volume "+volumeTrust+" and the path "+bundleMount+" are netproxy's; remove the mount"))
		}
	}
	return errs
}
