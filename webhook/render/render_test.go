package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/xds"
)

const policy = `
podSelector: {}
egress: {defaultAction: Deny, rules: [{action: Allow, hosts: [api.openai.com]}]}
mitm:
  domains: [api.openai.com]
  headerMutations:
  - {domain: api.openai.com, headers: [{name: Authorization, secretRef: {name: openai, key: key}, prefix: "Bearer "}]}
trust: {additionalCAs: [{configMapRef: {name: corp, key: ca.crt}}]}
`

const canary = "sk-canary-credential"

// random is a source that repeats itself from seed on.
type random struct {
	seed  uint64
	count uint64
}

func (r *random) Read(p []byte) (int, error) {
	for i := range p {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.seed), r.count))
		p[i], r.count = sum[0], r.count+1
	}
	return len(p), nil
}

func now() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

func request(t *testing.T) Request {
	t.Helper()
	var spec v1alpha1.EgressPolicySpec
	if err := yaml.UnmarshalStrict([]byte(policy), &spec); err != nil {
		t.Fatal(err)
	}
	rotation, err := mitm.NewRotation(&random{seed: 1}, now(), "demo/agent")
	if err != nil {
		t.Fatal(err)
	}
	corp, err := mitm.Generate(&random{seed: 2}, now(), "corp")
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Ref: xds.PolicyRef{Kind: v1alpha1.KindEgressPolicy, Namespace: "demo", Name: "agent"}, Spec: &spec,
		CA: rotation.Current, Trusted: rotation.Trusted(), Chains: rotation.Chains(),
		Secrets:    Objects{"openai": {"key": []byte(canary + "\n")}},
		ConfigMaps: Objects{"corp": {"ca.crt": corp.CertificatePEM()}},
		Now:        now(), Rand: &random{seed: 3},
	}
}

func render(t *testing.T, req Request) Result {
	t.Helper()
	out, err := Secret(req)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSecretStays(t *testing.T) {
	req := request(t)
	first := render(t, req)
	if len(first.Problems) > 0 || first.LeafAction.Action != mitm.Create {
		t.Fatalf("first: %v, %v", first.Problems, first.LeafAction)
	}
	req.Stored = first.Data
	second := render(t, req)
	if diff := cmp.Diff(first.Data, second.Data); diff != "" {
		t.Errorf("the second rendering differs:\n%s", diff)
	}
	if first.Revision != second.Revision || second.LeafAction.Action != mitm.Keep {
		t.Errorf("revision %s, then %s; leaf %v", first.Revision, second.Revision, second.LeafAction)
	}
	if _, ok := first.Data[xds.UpstreamCAsFile]; !ok {
		t.Error("additional CAs, and no trust of its own for the proxy")
	}
	if bytes.Count(first.Data[v1alpha1.BundleKey], []byte("BEGIN CERTIFICATE")) != 3 {
		t.Error("the bundle has to hold the current CA, the next one and the additional one")
	}
}

func TestChanges(t *testing.T) {
	cases := map[string]struct {
		change  func(*Request)
		config  bool // whether the version that Envoy shows changes
		leaf    mitm.Reason
		problem string
	}{
		"credential":         {func(r *Request) { r.Secrets["openai"]["key"] = []byte("other") }, false, mitm.ReasonUpToDate, ""},
		"credential missing": {func(r *Request) { delete(r.Secrets, "openai") }, false, mitm.ReasonUpToDate, "does not exist"},
		"credential empty":   {func(r *Request) { r.Secrets["openai"]["key"] = nil }, false, mitm.ReasonUpToDate, "is empty"},
		"rule": {func(r *Request) {
			r.Spec.Egress.Rules[0].HTTP = []v1alpha1.HTTPMatch{{Methods: []string{"GET"}}}
		}, true, mitm.ReasonUpToDate, ""},
		"domain":         {func(r *Request) { r.Spec.MITM.Domains = append(r.Spec.MITM.Domains, "b.example") }, true, mitm.ReasonDomainsChanged, ""},
		"renewal":        {func(r *Request) { r.Now = r.Now.Add(70 * 24 * time.Hour) }, false, mitm.ReasonRenewalDue, ""},
		"asked":          {func(r *Request) { r.Now = r.Now.Add(time.Hour); r.RotateLeaf = r.Now }, false, "Requested", ""},
		"CA":             {func(r *Request) { delete(r.ConfigMaps, "corp") }, true, mitm.ReasonUpToDate, "does not exist"},
		"CA without PEM": {func(r *Request) { r.ConfigMaps["corp"]["ca.crt"] = []byte("x") }, true, mitm.ReasonUpToDate, "not trusted"},
		"leaf damaged":   {func(r *Request) { r.Stored[xds.LeafCertFile] = []byte("x") }, false, mitm.ReasonUnreadable, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			req := request(t)
			before := render(t, req)
			req.Stored = map[string][]byte{}
			for key, value := range before.Data {
				req.Stored[key] = value
			}
			c.change(&req)
			after := render(t, req)
			if before.Revision == after.Revision {
				t.Error("the revision is the same")
			}
			if changed := before.ConfigRevision != after.ConfigRevision; changed != c.config {
				t.Errorf("the configuration's version changed: %v", changed)
			}
			if after.LeafAction.Reason != c.leaf {
				t.Errorf("leaf: %s, want %s", after.LeafAction.Reason, c.leaf)
			}
			checkProblems(t, after.Problems, c.problem)
		})
	}
}

func checkProblems(t *testing.T, got []Problem, want string) {
	t.Helper()
	if want == "" && len(got) == 0 {
		return
	}
	if want == "" || len(got) != 1 || !strings.Contains(got[0].Message, want) {
		t.Errorf("problems %v, want one with %q", got, want)
	}
}

func TestRequestedOnce(t *testing.T) {
	req := request(t)
	req.Stored = render(t, req).Data
	req.Now = req.Now.Add(time.Hour)
	req.RotateLeaf = req.Now.Add(-time.Minute)
	rotated := render(t, req)
	req.Stored, req.Now = rotated.Data, req.Now.Add(time.Minute)
	if again := render(t, req); again.LeafAction.Action != mitm.Keep {
		t.Errorf("the leaf is replaced again: %v", again.LeafAction)
	}
}

// TestCanary: the credential stands in its file, and nowhere else.
func TestCanary(t *testing.T) {
	out := render(t, request(t))
	found := 0
	for name, data := range out.Data {
		if bytes.Contains(data, []byte(canary)) {
			if found++; !strings.HasPrefix(name, "sds-") {
				t.Errorf("found in %s", name)
			}
		}
	}
	if found != 1 {
		t.Errorf("found in %d files, want 1", found)
	}
}

func TestTooLarge(t *testing.T) {
	req := request(t)
	for range 16 {
		req.Spec.Egress.Rules = append(req.Spec.Egress.Rules, v1alpha1.Rule{Action: v1alpha1.ActionAllow, HTTP: manyPaths()})
	}
	if _, err := Secret(req); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func manyPaths() []v1alpha1.HTTPMatch {
	var m v1alpha1.HTTPMatch
	for i := range 100 {
		path := "/" + strings.Repeat("x", 1000) + string(rune('a'+i%26)) + strings.Repeat("y", i)
		m.Paths = append(m.Paths, v1alpha1.PathMatch{Exact: &path})
	}
	return []v1alpha1.HTTPMatch{m}
}
