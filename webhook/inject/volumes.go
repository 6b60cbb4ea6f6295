package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// Names of the injected volumes.
const (
	volumeConfig = "netproxy-config"
	volumeTLS    = "netproxy-tls"
	volumeBundle = "netproxy-ca-bundle"
	volumeRun    = "netproxy-run"
	volumeTrust  = "netproxy-trust"
	volumeBinary = "netproxy-bin"
	volumeDNS    = "netproxy-dns"
	volumeLab    = "netproxy-lab"
	volumeTemp   = "netproxy-tmp"
)

func volumeNames() []string {
	return []string{volumeConfig, volumeTLS, volumeBundle, volumeRun, volumeTrust, volumeBinary, volumeDNS, volumeLab, volumeTemp}
}

func volumes(in *Inputs, slots trust) []corev1.Volume {
	secret := in.secret()
	out := []corev1.Volume{
		// Whole: credentials that the policy will have later are keys that nobody knows yet.
		projected(volumeConfig, secret, nil),
		projected(volumeTLS, secret, new(true), xds.LeafCertFile, xds.LeafKeyFile, xds.UpstreamCAsFile),
		emptyDir(volumeRun), emptyDir(volumeTrust), emptyDir(volumeDNS),
	}
	if len(slots.images) > 0 {
		out = append(out, projected(volumeBundle, secret, nil, v1alpha1.BundleKey), emptyDir(volumeBinary))
	}
	if in.Probe != "" {
		out = append(out, projected(volumeLab, v1alpha1.ProbeLabSecretName(in.Probe), nil), emptyDir(volumeTemp))
	}
	return out
}

// projected shows keys of the policy's Secret, all if none is named. A kubelet keeps the pod waiting for a Secret, or a key, that is
// not optional.
func projected(name, secret string, optional *bool, keys ...string) corev1.Volume {
	source := &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Optional: optional}
	for _, key := range keys {
		source.Items = append(source.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{Secret: source}}, DefaultMode: new(corev1.ProjectedVolumeSourceDefaultMode),
	}}}
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// isOurVolume compares the whole volume: one that only has the name is somebody else's.
func isOurVolume(v *corev1.Volume, in *Inputs) bool {
	if !slices.Contains(volumeNames(), v.Name) {
		return false
	}
	return slices.ContainsFunc(volumes(in, trust{images: make([]corev1.Container, 1)}), func(own corev1.Volume) bool {
		return own.Name == v.Name && apiequality.Semantic.DeepEqual(own, *v)
	})
}
