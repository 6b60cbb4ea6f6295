package v1alpha1

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MaxPrivateRanges bounds an organisation's list: each proxy holds it several times, and compares every address with it.
const MaxPrivateRanges = 256

// ValidatePrivateRanges reads the ranges that `resolution: Public` must not accept besides the built-in ones. They come back
// sorted and each once, so that equal lists render alike.
func ValidatePrivateRanges(ranges []string, path *field.Path) ([]netip.Prefix, field.ErrorList) {
	var errs field.ErrorList
	if len(ranges) > MaxPrivateRanges {
		errs = append(errs, field.TooMany(path, len(ranges), MaxPrivateRanges))
	}
	var out []netip.Prefix
	for i, text := range ranges {
		prefix, err := parseCIDR(text)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(path.Index(i), text, err.Error()))
		case prefix.Bits() == 0:
			errs = append(errs, field.Invalid(path.Index(i), text, "no address would be public; write the organisation's own ranges"))
		default:
			out = append(out, prefix)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}
