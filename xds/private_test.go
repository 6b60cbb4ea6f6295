package xds

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// TestPrivateRanges: an organisation's ranges come on top, in the verdict and in what Envoy gets.
func TestPrivateRanges(t *testing.T) {
	spec := &v1alpha1.EgressPolicySpec{Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: []v1alpha1.Rule{
		{Name: "public", Action: v1alpha1.ActionAllow, Hosts: []string{"public.example.com"}},
		{Name: "any", Action: v1alpha1.ActionAllow, Hosts: []string{"any.example.com"}, Resolution: v1alpha1.ResolutionAny},
	}}}
	compiled := func(own ...netip.Prefix) *Plan {
		plan, err := Compile(PolicyRef{"EgressPolicy", "demo", "ranges"}, spec, own...)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	plain, extended := compiled(), compiled(netip.MustParsePrefix("25.0.0.0/8"), netip.MustParsePrefix("2600::/32"))
	for _, tt := range []struct {
		plan       *Plan
		name, addr string
		want       string
	}{
		{plain, "public", "25.1.2.3", Allow}, {plain, "public", "10.1.2.3", Deny},
		{extended, "public", "25.1.2.3", Deny}, {extended, "public", "10.1.2.3", Deny}, {extended, "public", "26.1.2.3", Allow},
		{extended, "public", "2600::1", Deny}, {extended, "public", "2600:1::1", Allow}, {extended, "public", "64:ff9b::1901:203", Deny}, {extended, "public", "64:ff9b::1a01:203", Allow},
		{extended, "any", "25.1.2.3", Allow}, {extended, "any", "10.1.2.3", Allow},
	} {
		host := tt.name + ".example.com"
		v := tt.plan.Evaluate(Request{Dst: netip.MustParseAddrPort("192.0.2.1:443"), TLS: true, SNI: host, HTTP: true, Host: host, Method: "GET", Path: "/", Resolved: []netip.Addr{netip.MustParseAddr(tt.addr)}})
		if v.Verdict != tt.want {
			t.Errorf("%s at %s: %s (%s)", tt.name, tt.addr, v.Verdict, v.Reason)
		}
	}
	clusters := func(p *Plan) string {
		files, err := p.Render(Config{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Name == ClustersFile {
				return string(f.Data)
			}
		}
		return ""
	}
	for _, address := range []string{`"25.0.0.0"`, `"2600::"`, `"64:ff9b::1900:0"`} {
		if strings.Contains(clusters(plain), address) || !strings.Contains(clusters(extended), address) {
			t.Errorf("%s is not where it belongs", address)
		}
	}
}
