package xds_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// FuzzStructure: whatever a policy's strings are, they change texts in the configuration and never its structure.
func FuzzStructure(f *testing.F) {
	f.Add("rule", "api.example.com", "GET", "/v1/", "value", "Bearer ", "X-Name", "secret", "key")
	f.Add("a\"b", "x\",\"y", "GET\"}", "/\"],[", "%REQ(x)% \"\\", "%ENV(HOME)%", "a\": {", "s\n", "k: {}")
	f.Add("r", "xn--bcher-kva.example", "PROPFIND", "/%22%7D", "100%", "${x}", "X-{{.}}", "s", "k")
	f.Fuzz(func(t *testing.T, rule, host, method, path, value, prefix, header, secret, key string) {
		spec := fuzzed(rule, host, method, path, value, prefix, header, secret, key)
		if _, errs := v1alpha1.Validate(spec, field.NewPath("spec")); len(errs) > 0 {
			return
		}
		parsed, err := v1alpha1.ParseHost(host)
		if err != nil || parsed.Kind != v1alpha1.HostExact || strings.HasSuffix(parsed.Name, "cluster.local") {
			return // another kind of host has another structure
		}
		plain := "/plain"
		if normal, err := v1alpha1.NormalizePath(path, v1alpha1.RefuseEncodedSlashes); err == nil {
			if _, several := v1alpha1.PathPattern(normal); several {
				plain = "/plain:several"
			}
		}
		base := fuzzed("rule", "api.example.com", "GET", plain, "value", "Bearer ", "X-Name", "secret", "key")
		if diff := cmp.Diff(shapes(t, base), shapes(t, spec)); diff != "" {
			t.Errorf("-plain +fuzzed\n%s", diff)
		}
	})
}

func fuzzed(rule, host, method, path, value, prefix, header, secret, key string) *v1alpha1.EgressPolicySpec {
	return &v1alpha1.EgressPolicySpec{
		Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: []v1alpha1.Rule{{
			Name: rule, Action: v1alpha1.ActionAllow, Hosts: []string{host},
			HTTP: []v1alpha1.HTTPMatch{{Methods: []string{method}, Paths: []v1alpha1.PathMatch{{Prefix: &path}}}},
		}}},
		MITM: &v1alpha1.MITM{Domains: []string{host}, HeaderMutations: []v1alpha1.HeaderMutation{{Domain: host, Headers: []v1alpha1.Header{
			{Name: header, Value: &value},
			{Name: "Authorization", SecretRef: &v1alpha1.SecretKeyRef{Name: secret, Key: key}, Prefix: prefix},
		}}}},
	}
}

// shapes is what is left of the files without their texts. Names that a policy chooses stand as keys in three places.
func shapes(t *testing.T, spec *v1alpha1.EgressPolicySpec) []any {
	t.Helper()
	plan, err := xds.Compile(xds.PolicyRef{Kind: "EgressPolicy", Namespace: "demo", Name: "fuzz"}, spec)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, f := range rendered(t, plan) {
		if !json.Valid(f.Data) {
			continue
		}
		var tree any
		if err := json.Unmarshal(f.Data, &tree); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		out = append(out, shape(tree))
	}
	return out
}

func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			if strings.HasPrefix(key, "inject-") || strings.Contains(key, ".") && key != "netproxy.audit" {
				key = "chosen"
			}
			out[key] = shape(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shape(v[i])
		}
		return out
	case string:
		return ""
	default:
		return v
	}
}

// FuzzEvaluate: no request makes Evaluate panic, and what is denied injects nothing.
func FuzzEvaluate(f *testing.F) {
	f.Add("api.openai.com", "api.openai.com:443", "GET", "/v1/x", true, true)
	f.Add("", "[::1]:", "TRACE", "/%", false, true)
	f.Add("x.github.com.", "..", "", "*", true, false)
	f.Fuzz(func(t *testing.T, sni, host, method, path string, tls, http bool) {
		plan := compiled(t, readPolicy(t, "testdata/golden/agent.yaml"))
		v := plan.Evaluate(xds.Request{TLS: tls, HTTP: http, SNI: sni, Host: host, Method: method, Path: path})
		if v.Verdict == xds.Deny && len(v.Injected) > 0 || v.Verdict != xds.Deny && v.Verdict != xds.Allow || v.Chain == "" || v.Reason == "" {
			t.Errorf("%+v", v)
		}
	})
}
