package envoy

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// fault is a mistake that a renderer could make: Envoy gets a configuration of a changed policy, or changed files, while
// Evaluate judges the policy as it is. The comparison has to notice.
type fault struct {
	name string
	// change returns false if the policy gives the fault nothing to do.
	change func(*v1alpha1.EgressPolicySpec) bool
	// files changes what was rendered.
	files func(name string, data []byte) []byte
	// ranges says whether the ranges that the organisation counts as private are lost.
	ranges rangesFault
}

type rangesFault bool

const rangesLost rangesFault = true

func faults() []fault {
	return []fault{
		{name: "dropped deny rule", change: dropRule(v1alpha1.ActionDeny)},
		{name: "dropped allow rule", change: dropRule(v1alpha1.ActionAllow)},
		{name: "lost port", change: eachRule(func(r *v1alpha1.Rule) bool { had := len(r.Ports) > 0; r.Ports = nil; return had })},
		{name: "lost methods", change: eachMatch(func(m *v1alpha1.HTTPMatch) bool { had := len(m.Methods) > 0; m.Methods = nil; return had })},
		{name: "exact path taken for a prefix", change: eachMatch(widenPaths)},
		{name: "http of a rule lost", change: eachRule(func(r *v1alpha1.Rule) bool { had := len(r.HTTP) > 0; r.HTTP = nil; return had })},
		{name: "public resolution taken for any", change: eachRule(setResolution(v1alpha1.ResolutionAny))},
		{name: "organisation's private ranges lost", ranges: rangesLost},
		{name: "client's destination trusted", change: eachRule(setResolution(v1alpha1.ResolutionClient))},
		{name: "passed-through domain intercepted", change: dropPassthrough},
		{name: "headers not injected", change: dropMutations},
		{name: "default action swapped", change: swapDefault},
		{name: "case-sensitive host", files: inJSON(xds.ListenersFile, dropLowering)},
		{name: "handshake not compared", files: inJSON(xds.ListenersFile, dropFilter("handshake"))},
		{name: "path not normalised", files: inText(`"normalizePath":true`, `"normalizePath":false`)},
		{name: "slashes not merged", files: inText(`"mergeSlashes":true`, `"mergeSlashes":false`)},
		{name: "trailing dot kept", files: inText(`"stripTrailingHostDot":true`, `"stripTrailingHostDot":false`)},
		{name: "client's header kept", files: inText(`"overwrite":true`, `"overwrite":false`)},
	}
}

// faultSeed is fixed: some faults need a rare pair, and this test asks whether a comparison notices, not how soon.
const faultSeed = 3

// TestComparisonFindsFaults proves TestAgreement: each fault must show within as many policies as it uses itself.
func TestComparisonFindsFaults(t *testing.T) {
	l, ctx := testLab(t), testContext(t, 20*time.Minute)
	ca := must[*mitm.CA](t)(authority())
	g := &generator{Rand: rand.New(rand.NewPCG(faultSeed, 2)), lab: l}
	g.prepareWorld()
	var envoy *lab.Envoy
	for _, f := range faults() {
		count := map[class]int{}
		found := false
		tried := 0
		for n := 0; n < generatedPolicies && !found; n++ {
			spec := g.policy()
			private := g.ranges()
			plan := must[*xds.Plan](t)(compile(&spec, private...))
			files, ok := f.render(t, l, ca, &spec, private)
			if !ok {
				continue
			}
			tried++
			var err error
			if envoy, err = deploy(ctx, envoy, l.Pods[podFaults], files); err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			errs := compareAll(ctx, l, l.Pods[podFaults], plan, g.pairs(plan, count))
			found = slices.ContainsFunc(errs, func(err error) bool { return err != nil })
			l.Ledger.Forget()
		}
		if !found {
			t.Errorf("%s: not noticed in %d policies", f.name, tried)
		}
		t.Logf("%-36s noticed after %d policies", f.name, tried)
	}
}

func (f fault) render(t *testing.T, l *lab.Lab, ca *mitm.CA, spec *v1alpha1.EgressPolicySpec, private []netip.Prefix) (xds.Files, bool) {
	t.Helper()
	wrong := spec.DeepCopy()
	if f.change != nil && !f.change(wrong) {
		return nil, false
	}
	if f.ranges == rangesLost {
		if len(private) == 0 {
			return nil, false
		}
		private = nil
	}
	files := must[xds.Files](t)(render(l, ca, must[*xds.Plan](t)(compile(wrong, private...))))
	if f.files == nil {
		return files, true
	}
	changed := false
	for i := range files {
		data := f.files(files[i].Name, files[i].Data)
		changed = changed || !bytes.Equal(data, files[i].Data)
		files[i].Data = data
	}
	return files, changed
}

func dropRule(action v1alpha1.Action) func(*v1alpha1.EgressPolicySpec) bool {
	return func(spec *v1alpha1.EgressPolicySpec) bool {
		i := slices.IndexFunc(spec.Egress.Rules, func(r v1alpha1.Rule) bool { return r.Action == action })
		if i < 0 {
			return false
		}
		// The others keep their names, which come from their places.
		spec.Egress.Rules[i] = v1alpha1.Rule{Audit: true, HTTP: []v1alpha1.HTTPMatch{{Methods: []string{"NONE"}}}}
		return true
	}
}

func eachRule(change func(*v1alpha1.Rule) bool) func(*v1alpha1.EgressPolicySpec) bool {
	return func(spec *v1alpha1.EgressPolicySpec) bool {
		found := false
		for i := range spec.Egress.Rules {
			found = change(&spec.Egress.Rules[i]) || found
		}
		return found
	}
}

func eachMatch(change func(*v1alpha1.HTTPMatch) bool) func(*v1alpha1.EgressPolicySpec) bool {
	return eachRule(func(r *v1alpha1.Rule) bool {
		found := false
		for i := range r.HTTP {
			found = change(&r.HTTP[i]) || found
		}
		return found
	})
}

func widenPaths(m *v1alpha1.HTTPMatch) bool {
	found := false
	for i := range m.Paths {
		if m.Paths[i].Exact != nil {
			m.Paths[i], found = v1alpha1.PathMatch{Prefix: m.Paths[i].Exact}, true
		}
	}
	return found
}

func setResolution(resolution v1alpha1.Resolution) func(*v1alpha1.Rule) bool {
	return func(r *v1alpha1.Rule) bool {
		if len(r.Hosts) == 0 || r.Resolution == resolution {
			return false
		}
		r.Resolution = resolution
		return true
	}
}

func dropPassthrough(spec *v1alpha1.EgressPolicySpec) bool {
	if spec.MITM == nil || len(spec.MITM.PassthroughDomains) == 0 {
		return false
	}
	spec.MITM.PassthroughDomains = nil
	return true
}

func dropMutations(spec *v1alpha1.EgressPolicySpec) bool {
	if spec.MITM == nil || len(spec.MITM.HeaderMutations) == 0 {
		return false
	}
	spec.MITM.HeaderMutations = nil
	return true
}

func swapDefault(spec *v1alpha1.EgressPolicySpec) bool {
	if spec.Egress.DefaultAction == v1alpha1.ActionDeny {
		spec.Egress.DefaultAction = v1alpha1.ActionAllow
	} else {
		spec.Egress.DefaultAction = v1alpha1.ActionDeny
	}
	return true
}

func inText(from, to string) func(string, []byte) []byte {
	return func(_ string, data []byte) []byte { return bytes.ReplaceAll(data, []byte(from), []byte(to)) }
}

func inJSON(file string, change func(any) any) func(string, []byte) []byte {
	return func(name string, data []byte) []byte {
		if name != file {
			return data
		}
		var response struct {
			VersionInfo string `json:"versionInfo"` // stays first
			Resources   any    `json:"resources"`
		}
		if err := json.Unmarshal(data, &response); err != nil {
			return data
		}
		response.Resources = walk(response.Resources, change)
		out, err := json.Marshal(response)
		if err != nil {
			return data
		}
		return out
	}
}

// walk changes every value of a JSON tree, the innermost first.
func walk(v any, change func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = walk(v[key], change)
		}
		return change(v)
	case []any:
		for i := range v {
			v[i] = walk(v[i], change)
		}
		return change(v)
	default:
		return v
	}
}

// dropLowering puts what is lowered in place of its lower case.
func dropLowering(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if call, ok := m["callExpr"].(map[string]any); ok && call["function"] == "lowerAscii" {
		return call["target"]
	}
	return v
}

func dropFilter(name string) func(any) any {
	return func(v any) any {
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		filters, ok := m["httpFilters"].([]any)
		if ok {
			m["httpFilters"] = slices.DeleteFunc(filters, func(f any) bool { return f.(map[string]any)["name"] == name })
		}
		return m
	}
}
