package envoy

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// drainTime is what the tests give Envoy, in whole seconds; slack is what a busy machine may need on top.
const (
	drainTime = time.Second
	slack     = 3 * time.Second
)

// podName is what the sidecar of these tests knows as its pod.
const podName = "agent-0"

// proxy is a pod's Envoy under a policy, both of which a test can change.
type proxy struct {
	lab    *lab.Lab
	pod    *lab.Pod
	envoy  *lab.Envoy
	ca     *mitm.CA
	plan   *xds.Plan
	config xds.Config
	files  xds.Files
	leaf   *mitm.Leaf
}

// policyOf reads one policy.
func policyOf(t *testing.T, text []byte) v1alpha1.Policy {
	t.Helper()
	docs := must[decode.Documents](t)(decode.Decode(text))
	if len(docs.Policies) != 1 {
		t.Fatalf("%d policies, one is wanted", len(docs.Policies))
	}
	if _, errs := v1alpha1.ValidatePolicy(docs.Policies[0]); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return docs.Policies[0]
}

// egress is a policy with the given spec, which is YAML.
func egress(t *testing.T, spec string) v1alpha1.Policy {
	t.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
	return policyOf(t, []byte("apiVersion: netproxy.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: tested, namespace: demo}\nspec:\n  "+indented+"\n"))
}

// startProxy runs a policy in a pod. Every name of its exact hosts and domains must be in the world already.
func startProxy(ctx context.Context, t *testing.T, pod int, policy v1alpha1.Policy, args ...string) *proxy {
	t.Helper()
	l := testLab(t)
	p := &proxy{lab: l, pod: l.Pods[pod], ca: must[*mitm.CA](t)(authority())}
	p.config = xds.Config{UpstreamCAs: l.World.CAPEM(), Credentials: map[xds.Credential]xds.SecretText{}}
	if !l.IPv6 {
		p.config.Families = xds.IPv4Only
	}
	if err := p.compile(policy); err != nil {
		t.Fatal(err)
	}
	envoy, err := p.pod.StartEnvoy(ctx, lab.EnvoyOptions{
		Files: mounted(p.files), Env: []string{"POD_NAME=" + podName, "POD_NAMESPACE=demo"},
		Args: append([]string{"--drain-time-s", strconv.Itoa(int(drainTime.Seconds())), "--concurrency", "2", "--file-flush-interval-msec", "50"}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.envoy = envoy
	t.Cleanup(func() {
		if err := envoy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// compile renders a policy; the leaf stays unless the domains change, and so do the values of credentials.
func (p *proxy) compile(policy v1alpha1.Policy) error {
	gvk := policy.GetObjectKind().GroupVersionKind()
	plan, err := xds.Compile(xds.PolicyRef{Kind: gvk.Kind, Namespace: policy.GetNamespace(), Name: policy.GetName()}, policy.PolicySpec())
	if err != nil {
		return fmt.Errorf("compiling: %w", err)
	}
	fresh := p.plan == nil || !sameDomains(p.plan, plan)
	p.plan = plan
	for _, c := range plan.Credentials() {
		if _, ok := p.config.Credentials[c]; !ok {
			p.config.Credentials[c] = xds.SecretText(credentialValue(c))
		}
	}
	if fresh && len(plan.Domains) > 0 {
		if err := p.newLeaf(); err != nil {
			return err
		}
	}
	return p.render()
}

func sameDomains(a, b *xds.Plan) bool {
	names := func(p *xds.Plan) map[string]bool {
		out := map[string]bool{}
		for _, d := range p.Domains {
			out[d.SAN()] = true
		}
		return out
	}
	return maps.Equal(names(a), names(b))
}

func (p *proxy) newLeaf() error {
	names := make([]string, len(p.plan.Domains))
	for i, d := range p.plan.Domains {
		names[i] = d.SAN()
	}
	leaf, err := mitm.Issue(p.ca, names, rand.Reader, time.Now())
	if err != nil {
		return fmt.Errorf("issuing a leaf: %w", err)
	}
	key, err := leaf.Key().RevealPEM()
	if err != nil {
		return fmt.Errorf("writing the key of the leaf: %w", err)
	}
	p.leaf, p.config.LeafCert, p.config.LeafKey = leaf, leaf.CertificatePEM(), key
	return nil
}

func (p *proxy) render() error {
	files, err := p.plan.Render(p.config)
	p.files = files
	return err
}

// swap mounts the current rendering.
func (p *proxy) swap() error {
	if err := p.render(); err != nil {
		return err
	}
	return p.envoy.Swap(mounted(p.files))
}

// change puts another policy in force.
func (p *proxy) change(ctx context.Context, policy v1alpha1.Policy) error {
	if err := p.compile(policy); err != nil {
		return err
	}
	if err := p.envoy.Swap(mounted(p.files)); err != nil {
		return err
	}
	return inForce(ctx, p.envoy, p.files.Revision())
}

// place gives the request the address of its name.
func (p *proxy) place(t *testing.T, r lab.Request) lab.Request {
	t.Helper()
	if !r.Dst.Addr().IsValid() {
		addrs, known := p.lab.World.Lookup(r.Name)
		if !known || len(addrs) == 0 {
			t.Fatalf("the world has no %q", r.Name)
		}
		r.Dst = netip.AddrPortFrom(addrs[0], r.Dst.Port())
	}
	return r
}

// do sends a request and says where Envoy and Evaluate differ.
func (p *proxy) do(ctx context.Context, t *testing.T, r lab.Request) (lab.Result, xds.Verdict) {
	t.Helper()
	r = p.place(t, r)
	v := p.plan.Evaluate(seen(p.lab, r))
	res := p.pod.Do(ctx, r)
	if err := disagreement(p.lab, p.plan, r, v, res); err != nil {
		t.Errorf("%s %s: Evaluate and Envoy disagree: %v\nverdict %+v", r.Method, r.Host+r.Path, err, v)
	}
	return res, v
}
