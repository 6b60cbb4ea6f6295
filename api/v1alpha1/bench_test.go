package v1alpha1

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{1000, MaxDomains} {
		spec := large(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, errs := Validate(spec, field.NewPath("spec")); len(errs) > 0 {
					b.Fatal(errs[0])
				}
			}
		})
	}
}

// large has n intercepted domains with a rule for each.
func large(n int) *EgressPolicySpec {
	spec := &EgressPolicySpec{Egress: Egress{DefaultAction: ActionDeny}, MITM: &MITM{}}
	for i := range n {
		name := fmt.Sprintf("host-%d.example.com", i)
		spec.MITM.Domains = append(spec.MITM.Domains, name)
		spec.Egress.Rules = append(spec.Egress.Rules, Rule{
			Action: ActionAllow, Hosts: []string{name}, Ports: []PortRange{{Port: 443}},
			HTTP: []HTTPMatch{{Methods: []string{"GET"}, Paths: []PathMatch{{Prefix: new("/v1/")}}}},
		})
	}
	return spec
}
