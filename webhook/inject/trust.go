package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Where application containers find what they trust.
const (
	bundleMount = "/etc/netproxy/ca-bundle"

	javaVariable   = "JAVA_TOOL_OPTIONS"
	javaTrustStore = "-Djavax.net.ssl.trustStore="
)

// trust are the images of the pod: each has CAs of its own, which a container of that image reads from the inside. This works
// on every Kubernetes version, unlike image volumes, and sees the image's own environment.
type trust struct {
	images []corev1.Container // the first container of each image
	index  map[string]int
}

func trustSlots(spec *corev1.PodSpec, in *Inputs) trust {
	t := trust{index: map[string]int{}}
	if !in.trusts() {
		return t
	}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if _, ok := t.index[list[i].Image]; !ok {
				t.index[list[i].Image] = len(t.images)
				t.images = append(t.images, list[i])
			}
		}
	}
	return t
}

// container runs netproxy-init in the image, as the user of its first container.
func (t trust) container(i int, in *Inputs) corev1.Container {
	like := t.images[i]
	pull := like.ImagePullPolicy
	if pull == "" {
		pull = in.Images.pullPolicy()
	}
	c := container(trustPrefix+strconv.Itoa(i), like.Image, pull)
	c.Command = []string{
		binaryMount + "/" + names.InitBinary, "trust", "--policy-cas=" + policyMount + "/" + v1alpha1.BundleKey, "--out=" + trustMount,
	}
	c.VolumeMounts = []corev1.VolumeMount{
		{Name: volumeBinary, MountPath: binaryMount, ReadOnly: true},
		{Name: volumeBundle, MountPath: policyMount, ReadOnly: true},
		{Name: volumeTrust, MountPath: trustMount, SubPath: strconv.Itoa(i)},
	}
	c.Resources = smallResources()
	c.SecurityContext = confined()
	if s := like.SecurityContext; s != nil {
		c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup, c.SecurityContext.RunAsNonRoot = s.RunAsUser, s.RunAsGroup, s.RunAsNonRoot
	}
	return c
}

// trustIn announces the bundle to a container. What it says itself stays.
func trustIn(c *corev1.Container, slot int) {
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == bundleMount }) {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{
			Name: volumeTrust, MountPath: bundleMount, SubPath: strconv.Itoa(slot), ReadOnly: true,
		})
	}
	variables := names.TrustVariables()
	c.Env = slices.Grow(c.Env, len(variables)+1)
	for _, name := range variables {
		if variable(c, name) == nil {
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: bundleMount + "/" + names.BundleFile})
		}
	}
	trustInJava(c)
}

// trustInJava puts its option before those of the user, which win.
func trustInJava(c *corev1.Container) {
	option := javaTrustStore + bundleMount + "/" + names.TrustStoreFile
	switch v := variable(c, javaVariable); {
	case v == nil:
		c.Env = append(c.Env, corev1.EnvVar{Name: javaVariable, Value: option})
	case v.ValueFrom == nil && !strings.Contains(v.Value, javaTrustStore):
		v.Value = fmt.Sprintf("%s %s", option, v.Value)
	}
}

func variable(c *corev1.Container, name string) *corev1.EnvVar {
	for i := range c.Env {
		if c.Env[i].Name == name {
			return &c.Env[i]
		}
	}
	return nil
}
