package decode

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// PrivateRanges reads what the ConfigMap of the cluster's defaults says under DefaultsPrivateRangesKey. An empty text is no
// range.
func PrivateRanges(text string) ([]netip.Prefix, error) {
	var list []string
	if err := yaml.UnmarshalStrict([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%s: %w; write a list of CIDRs in YAML, such as [25.0.0.0/8, \"2001:db8::/32\"]", v1alpha1.DefaultsPrivateRangesKey, err)
	}
	prefixes, errs := v1alpha1.ValidatePrivateRanges(list, field.NewPath(v1alpha1.DefaultsPrivateRangesKey))
	return prefixes, errs.ToAggregate()
}

// Resources reads what the ConfigMap of the cluster's defaults says under DefaultsResourcesKey. An empty text sets nothing.
func Resources(text string) (v1alpha1.Resources, error) {
	var out v1alpha1.Resources
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		return v1alpha1.Resources{}, fmt.Errorf("%s: %w", v1alpha1.DefaultsResourcesKey, err)
	}
	return out, nil
}
