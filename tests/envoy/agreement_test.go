package envoy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

const (
	generatedPolicies = 210
	pairsPerPolicy    = 12
	smallestShare     = 0.05
)

// wideEvery is how many policies there are for one with hundreds of names, which is rendered in another way.
const wideEvery = 6

// widen adds names that no request has: to the domains, or to those that pass through.
func widen(spec *v1alpha1.EgressPolicySpec, n int) {
	var fillers []string
	for i := range 300 {
		fillers = append(fillers, fmt.Sprintf("filler-%03d.wide.example", i))
	}
	if spec.MITM != nil && n%(2*wideEvery) == 0 {
		spec.MITM.Domains = append(spec.MITM.Domains, fillers...)
		return
	}
	spec.Egress.Rules = append(spec.Egress.Rules, v1alpha1.Rule{Name: "fillers", Action: v1alpha1.ActionAllow, Hosts: fillers})
}

// pair is one request and what Evaluate says of it.
type pair struct {
	request lab.Request
	verdict xds.Verdict
}

// TestAgreement holds Evaluate and Envoy together on generated policies and requests.
func TestAgreement(t *testing.T) {
	l, ctx := testLab(t), testContext(t, 15*time.Minute)
	start := newSeed()
	t.Logf("seed %d; run again with -seed", start)
	ca := must[*mitm.CA](t)(authority())
	g := &generator{Rand: rand.New(rand.NewPCG(start, 1)), lab: l}
	g.prepareWorld()
	count := map[class]int{}
	var envoy *lab.Envoy
	failures := 0
	for n := range generatedPolicies {
		spec := g.policy()
		if n%wideEvery == 0 {
			widen(&spec, n)
		}
		private := g.ranges()
		plan := must[*xds.Plan](t)(compile(&spec, private...))
		files := must[xds.Files](t)(render(l, ca, plan))
		var err error
		if envoy, err = deploy(ctx, envoy, l.Pods[podAgreement], files); err != nil {
			t.Fatalf("policy %d: %v\n%s", n, err, asYAML(spec))
		}
		pairs := g.pairs(plan, count)
		for i, err := range compareAll(ctx, l, l.Pods[podAgreement], plan, pairs) {
			if err == nil {
				continue
			}
			if failures++; failures <= 12 {
				t.Errorf("policy %d: %v\nrequest %+v\nverdict %+v\nprivate besides the built-in ranges %v\n%s", n, err, pairs[i].request, pairs[i].verdict, private, asYAML(spec))
			}
		}
		l.Ledger.Forget()
	}
	checkShares(t, count)
	t.Logf("%d disagreements", failures)
}

func asYAML(spec v1alpha1.EgressPolicySpec) string {
	out, err := yaml.Marshal(spec)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// pairs prefers the classes that were rarest so far.
func (g *generator) pairs(plan *xds.Plan, count map[class]int) []pair {
	var out []pair
	for range pairsPerPolicy {
		best, bestCount := pair{}, -1
		for range 60 {
			request, view := g.request()
			request.Header = []lab.Field{{Name: "Authorization", Value: clientHeader}, {Name: "X-Agent", Value: clientHeader}}
			v := plan.Evaluate(view)
			if c := count[classOf(v)]; bestCount < 0 || c < bestCount {
				best, bestCount = pair{request, v}, c
			}
		}
		count[classOf(best.verdict)]++
		out = append(out, best)
	}
	return out
}

// compareAll asks eight at a time.
func compareAll(ctx context.Context, l *lab.Lab, pod *lab.Pod, plan *xds.Plan, pairs []pair) []error {
	out := make([]error, len(pairs))
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, p := range pairs {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			res := pod.Do(ctx, p.request)
			out[i] = disagreement(l, plan, p.request, p.verdict, res)
		})
	}
	group.Wait()
	return out
}

func checkShares(t *testing.T, count map[class]int) {
	t.Helper()
	total := 0
	for _, n := range count {
		total += n
	}
	if total < 2000 {
		t.Errorf("%d pairs were compared, 2000 are wanted", total)
	}
	for _, c := range classes() {
		share := float64(count[c]) / float64(total)
		t.Logf("%-20s %5d  %4.1f %%", c, count[c], 100*share)
		if share < smallestShare {
			t.Errorf("class %q is %.1f %% of the pairs, at least %.0f %% are wanted", c, 100*share, 100*smallestShare)
		}
	}
}
