package lab

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUsableResolvers(t *testing.T) {
	for name, tc := range map[string]struct {
		resolvers, want string
		families        []Family
		err             string
	}{
		"both families":           {"10.96.0.10 fd00::a", "10.96.0.10 fd00::a", []Family{IPv4, IPv6}, ""},
		"a pod without IPv6":      {"fd00::a 10.96.0.10", "10.96.0.10", []Family{IPv4}, ""},
		"link-local":              {"169.254.20.10", "169.254.20.10", []Family{IPv4}, ""},
		"none":                    {"", "", []Family{IPv4, IPv6}, "no resolver"},
		"none of the pod's own":   {"fd00::a", "", []Family{IPv4}, "no resolver"},
		"loopback":                {"127.0.0.53", "", []Family{IPv4, IPv6}, "127.0.0.53"},
		"with the zone of a link": {"fe80::1%eth0", "", []Family{IPv4, IPv6}, "fe80::1%eth0"},
	} {
		var in, want []netip.Addr
		for _, s := range strings.Fields(tc.resolvers) {
			in = append(in, netip.MustParseAddr(s))
		}
		for _, s := range strings.Fields(tc.want) {
			want = append(want, netip.MustParseAddr(s))
		}
		got, err := usable(in, tc.families)
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestJoinedPodStartsNothing(t *testing.T) {
	p := &Pod{}
	if _, err := p.StartEnvoy(t.Context(), EnvoyOptions{Binary: "envoy"}); !errors.Is(err, errJoined) || p.Restarts() {
		t.Errorf("%v, restarts %v", err, p.Restarts())
	}
}
