package main

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/xds"
)

// manyDomains is a policy of the given number of intercepted domains with one rule each: methods, paths, a port.
func manyDomains(count int) *v1alpha1.EgressPolicySpec {
	spec := &v1alpha1.EgressPolicySpec{
		Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: make([]v1alpha1.Rule, count)},
		MITM:   &v1alpha1.MITM{Domains: make([]string, count)},
	}
	prefix, exact := "/v1/", "/healthz"
	for i := range count {
		name := fmt.Sprintf("service-%04d.example.com", i)
		spec.MITM.Domains[i] = name
		spec.Egress.Rules[i] = v1alpha1.Rule{
			Name: fmt.Sprintf("rule-%04d", i), Action: v1alpha1.ActionAllow, Hosts: []string{name}, Ports: []v1alpha1.PortRange{{Port: 443}},
			HTTP: []v1alpha1.HTTPMatch{{Methods: []string{"GET", "POST"}, Paths: []v1alpha1.PathMatch{{Prefix: &prefix}, {Exact: &exact}}}},
		}
	}
	v1alpha1.SetDefaults(spec)
	return spec
}

// renderInput is what Render is given besides the policy.
func renderInput(spec *v1alpha1.EgressPolicySpec, now time.Time) (xds.Config, error) {
	ca, err := mitm.Generate(rand.Reader, now, "bench")
	if err != nil {
		return xds.Config{}, err
	}
	leaf, err := mitm.Issue(ca, spec.MITM.Domains, rand.Reader, now)
	if err != nil {
		return xds.Config{}, err
	}
	key, err := leaf.Key().RevealPEM()
	if err != nil {
		return xds.Config{}, err
	}
	bundle, err := mitm.UpstreamBundle(mitm.Roots(now), ca.Chain(), nil)
	return xds.Config{
		Families: xds.DualStack, LeafCert: leaf.CertificatePEM(), LeafKey: key, UpstreamCAs: bundle.PEM(),
		Resolvers: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.53:53")},
	}, err
}

func compile(spec *v1alpha1.EgressPolicySpec) (*xds.Plan, error) {
	return xds.Compile(xds.PolicyRef{Kind: "EgressPolicy", Namespace: "bench", Name: "bench"}, spec)
}

// written counts the bytes that Render itself wrote: PEM files are only handed through.
func written(files xds.Files) int {
	n := 0
	for _, f := range files {
		if f.Place == xds.InConfig {
			n += len(f.Data)
		}
	}
	return n
}
