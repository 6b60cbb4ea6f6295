package v1alpha1

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestValidatePrivateRanges(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []string
		want []string
		err  string
	}{
		"none":           {nil, nil, ""},
		"sorted, once":   {[]string{"2001:db8::/32", "198.51.100.7/24", "25.0.0.0/8", "198.51.100.0/24"}, []string{"25.0.0.0/8", "198.51.100.0/24", "2001:db8::/32"}, ""},
		"one address":    {[]string{"203.0.113.7"}, []string{"203.0.113.7/32"}, ""},
		"IPv4 in IPv6":   {[]string{"::ffff:203.0.113.0/120"}, []string{"203.0.113.0/24"}, ""},
		"no CIDR":        {[]string{"25.0.0.0/8", "corp"}, nil, `privateRanges[1]: Invalid value: "corp": not an address; write four decimal numbers without leading zeros, or IPv6`},
		"bad length":     {[]string{"25.0.0.0/33"}, nil, `privateRanges[0]: Invalid value: "25.0.0.0/33": bad prefix length; write /0 to /32`},
		"everything":     {[]string{"::/0"}, nil, `privateRanges[0]: Invalid value: "::/0": no address would be public; write the organisation's own ranges`},
		"far too many":   {slices.Repeat([]string{"25.0.0.0/8"}, MaxPrivateRanges+1), nil, "privateRanges: Too many: 257: must have at most 256 items"},
		"all the errors": {[]string{"x", "0.0.0.0/0"}, nil, `[privateRanges[0]: Invalid value: "x": not an address; write four decimal numbers without leading zeros, or IPv6, privateRanges[1]: Invalid value: "0.0.0.0/0": no address would be public; write the organisation's own ranges]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, errs := ValidatePrivateRanges(tt.in, field.NewPath("privateRanges"))
			var want []netip.Prefix
			for _, text := range tt.want {
				want = append(want, netip.MustParsePrefix(text))
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			message := ""
			if err := errs.ToAggregate(); err != nil {
				message = err.Error()
			}
			if diff := cmp.Diff(tt.err, message); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
