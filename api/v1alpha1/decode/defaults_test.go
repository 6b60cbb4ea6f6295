package decode

import (
	"fmt"
	"strings"
	"testing"
)

func TestDefaults(t *testing.T) {
	ranges := func(text string) (any, error) { return PrivateRanges(text) }
	resources := func(text string) (any, error) { return Resources(text) }
	for _, tt := range []struct {
		read      func(string) (any, error)
		text      string
		want, err string
	}{
		{ranges, "", "[]", ""},
		{ranges, "- 203.0.113.0/24\n- 25.0.0.0/8\n", "[25.0.0.0/8 203.0.113.0/24]", ""},
		{ranges, "25.0.0.0/8", "", `write a list of CIDRs in YAML, such as [25.0.0.0/8, "2001:db8::/32"]`},
		{ranges, "[25.0.0.0/8", "", "privateRanges: error converting YAML to JSON"},
		{ranges, "[25.0.0.0/33]", "", `privateRanges[0]: Invalid value: "25.0.0.0/33": bad prefix length; write /0 to /32`},
		{resources, "", "{map[] map[]}", ""},
		{resources, "limit: {cpu: 1}", "", `resources: error unmarshaling JSON: while decoding JSON: json: unknown field "limit"`},
	} {
		got, err := tt.read(tt.text)
		if tt.err == "" && (err != nil || fmt.Sprint(got) != tt.want) {
			t.Errorf("%q: %v %v, want %s", tt.text, got, err, tt.want)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.err)
		}
	}
}
