package xds_test

import (
	"fmt"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// wide is a policy with n intercepted domains and a rule for each.
func wide(n int) *v1alpha1.EgressPolicySpec {
	spec := &v1alpha1.EgressPolicySpec{MITM: &v1alpha1.MITM{}}
	spec.Egress.DefaultAction = v1alpha1.ActionDeny
	prefix := "/v1/"
	for i := range n {
		host := fmt.Sprintf("host-%04d.example.com", i)
		spec.MITM.Domains = append(spec.MITM.Domains, host)
		spec.Egress.Rules = append(spec.Egress.Rules, v1alpha1.Rule{
			Name: fmt.Sprintf("rule%04d", i), Action: v1alpha1.ActionAllow, Hosts: []string{host}, Ports: []v1alpha1.PortRange{{Port: 443}},
			HTTP: []v1alpha1.HTTPMatch{{Methods: []string{"GET", "POST"}, Paths: []v1alpha1.PathMatch{{Prefix: &prefix}}}},
		})
	}
	return spec
}

func BenchmarkRenderWide(b *testing.B) {
	spec := wide(1000)
	b.ReportAllocs()
	size, lds := 0, 0
	for b.Loop() {
		plan, err := xds.Compile(xds.PolicyRef{Kind: "EgressPolicy", Namespace: "demo", Name: "wide"}, spec)
		if err != nil {
			b.Fatal(err)
		}
		files, err := plan.Render(testConfig(plan))
		if err != nil {
			b.Fatal(err)
		}
		size, lds = files.Size(), len(files.Find(xds.ListenersFile).Data)
	}
	b.ReportMetric(float64(size), "output-bytes")
	b.ReportMetric(float64(lds)/1000, "lds-bytes/domain")
}
