package render

import (
	"slices"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// References are the objects, in the namespace of the pods, that a policy reads.
type References struct{ Secrets, ConfigMaps []string }

// Referenced lists them, each once and sorted.
func Referenced(spec *v1alpha1.EgressPolicySpec) References {
	var out References
	if spec.MITM != nil {
		for _, m := range spec.MITM.HeaderMutations {
			for _, h := range m.Headers {
				if h.SecretRef != nil {
					out.Secrets = append(out.Secrets, h.SecretRef.Name)
				}
			}
		}
	}
	for _, source := range spec.Trust.AdditionalCAs {
		if source.SecretRef != nil {
			out.Secrets = append(out.Secrets, source.SecretRef.Name)
		}
		if source.ConfigMapRef != nil {
			out.ConfigMaps = append(out.ConfigMaps, source.ConfigMapRef.Name)
		}
	}
	for _, list := range []*[]string{&out.Secrets, &out.ConfigMaps} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return out
}
