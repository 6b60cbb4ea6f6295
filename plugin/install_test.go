package plugin

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/internal/setup"
)

func TestInstallUsage(t *testing.T) { golden(t, "install", "") }

// TestInstallPrints: what is changed is changed everywhere, and the rest is what the manifests say.
func TestInstallPrints(t *testing.T) {
	plain, changed := execute(t, "", "install"), execute(t, "", "install", "--ha", "--set", "namespace=np", "--set", "images.init=x/init:1",
		"--set", "images.webhook=x/webhook:1", "--set", "resources.limits.memory=1Gi")
	if plain.code != ExitGood || strings.Count(plain.out, "kind: CustomResourceDefinition") != 2 || !strings.Contains(plain.out, "replicas: 2") {
		t.Errorf("%d %s", plain.code, plain.err)
	}
	for text, want := range map[string]bool{
		"netproxy-system": false, "namespace: np\n": true, "system:serviceaccount:np:netproxy-webhook": true, "image: x/webhook:1": true, "value: x/init:1": true,
		"replicas: 3": true, "whenUnsatisfiable: DoNotSchedule": true, "name: netproxy-defaults": true, "      memory: 1Gi": true,
	} {
		if strings.Contains(changed.out, text) != want {
			t.Errorf("%q: %t, want %t", text, !want, want)
		}
	}
	streams := discard()
	s := newShell(streams, "v1.2.3", nil)
	options, err := setup.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := installation(s, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := setup.Print(objects)
	if err != nil || !strings.Contains(text, "image: netproxy/netproxy-webhook:v1.2.3") || !strings.Contains(text, "value: netproxy/netproxy-init:v1.2.3") ||
		!strings.Contains(text, "value: netproxy/netproxy-cli:v1.2.3") || !strings.Contains(text, "distroless-v1.40") {
		t.Errorf("a release does not install its own images: %v", err)
	}
}

// available makes the installation look as it does when the webhook runs.
func (f *fakeAPI) available(object *unstructured.Unstructured) {
	switch object.GetKind() {
	case "Deployment":
		replicas, _, _ := unstructured.NestedFloat64(object.Object, "spec", "replicas")
		object.Object["status"] = map[string]any{"observedGeneration": object.GetGeneration(), "updatedReplicas": int64(replicas), "availableReplicas": int64(replicas)}
		_ = unstructured.SetNestedField(object.Object, int64(replicas), "spec", "replicas")
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		ca, err := mitm.Generate(rand.NewChaCha8([32]byte{2}), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), "test")
		if err != nil {
			f.t.Fatal(err)
		}
		for _, w := range object.Object["webhooks"].([]any) {
			w.(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = base64.StdEncoding.EncodeToString(ca.CertificatePEM())
		}
	}
}

const (
	reviews  = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	allowed  = `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","status":{"allowed":true}}`
	version  = `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`
	oneNode  = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nstatus: {nodeInfo: {operatingSystem: linux, kernelVersion: 6.18.2}}\n"
	badNodes = "---\napiVersion: v1\nkind: Node\nmetadata: {name: old}\nstatus: {nodeInfo: {operatingSystem: linux, kernelVersion: 4.19.0-amd64}}\n" +
		"---\napiVersion: v1\nkind: Node\nmetadata: {name: win}\nstatus: {nodeInfo: {operatingSystem: windows, kernelVersion: \"10.0\"}}\n"
)

func TestInstallAppliesChecksAndRemoves(t *testing.T) {
	api := newFakeAPI(t)
	api.changed = api.available
	api.pages["/version"] = page{200, version}
	api.pages[reviews] = page{200, allowed}
	r := api.executeIn("", "install", "--apply", "--wait")
	if r.code != ExitGood || !strings.Contains(r.out, "deployment.apps/netproxy-webhook applied\n") || !strings.Contains(r.err, "✓ netproxy is ready") {
		t.Fatalf("%d %s%s", r.code, r.out, r.err)
	}
	if again := api.executeIn("", "install", "--apply"); again.code != ExitGood || again.out != r.out {
		t.Errorf("again: %d %s", again.code, again.err)
	}
	checked := api.executeIn("", "check")
	want := `✓ OK       API server v1.37.2
✓ OK       the cluster knows EgressPolicy and ClusterEgressPolicy
✓ OK       the webhook's replicas are available
✓ OK       the API server asks the webhook and fails closed
✓ OK       the webhook answers, and the API server trusts its certificate
✓ OK       you have the rights for the verbs of this program
✓ OK       0 policies were looked at
✓ OK       the nodes' kernels (nf_tables, inotify) were not looked into: add --nodes
`
	if diff := cmp.Diff(result{want, "", ExitGood}, checked, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	api.add(agentPolicy)
	refused := api.executeIn("", "uninstall")
	if refused.code != ExitFailed || refused.out != "" || !strings.Contains(refused.err, "EgressPolicy demo/agent") {
		t.Errorf("uninstall: %d %s%s", refused.code, refused.out, refused.err)
	}
	before := len(api.objects)
	if dry := api.executeIn("", "uninstall", "--force", "--dry-run"); dry.code != ExitGood || strings.Count(dry.out, "would be removed") != before || len(api.objects) != before {
		t.Errorf("dry run: %d, %d of %d\n%s%s", dry.code, strings.Count(dry.out, "would be removed"), before, dry.out, dry.err)
	}
	api.add(agentSecret[:strings.Index(agentSecret, "  annotations")] + "  labels: {netproxy.dev/managed: \"true\"}\n")
	if gone := api.executeIn("", "uninstall", "--force"); gone.code != ExitGood || len(api.objects) != 0 {
		t.Errorf("uninstall --force: %d, left %v\n%s", gone.code, api.objects, gone.err)
	}
	if r := api.executeIn("", "check"); r.code != ExitBad || !strings.Contains(r.out, "✗ ERROR    NP003  the cluster does not know EgressPolicy: netproxy is not installed\n") {
		t.Errorf("check without it: %d %s", r.code, r.out)
	}
}

// TestInstallKeepsDefaults: an upgrade that sets one of the defaults leaves the others.
func TestInstallKeepsDefaults(t *testing.T) {
	api := newFakeAPI(t)
	api.changed = api.available
	for _, set := range []string{"privateRanges=203.0.113.7/24,25.0.0.0/8", "resources.limits.memory=1Gi", "privateRanges=25.0.0.0/8"} {
		if r := api.executeIn("", "install", "--apply", "--set", set); r.code != ExitGood {
			t.Fatalf("%s: %d %s", set, r.code, r.err)
		}
	}
	if r := api.executeIn("", "install", "--apply"); r.code != ExitGood {
		t.Fatal(r.err)
	}
	got := api.objects["/api/v1/namespaces/netproxy-system/configmaps/netproxy-defaults"].Object["data"]
	want := map[string]any{"privateRanges": "- 25.0.0.0/8\n", "resources": "limits:\n  memory: 1Gi\n"}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// codes are the findings that are not fine, by severity.
func codes(t *testing.T, r result) map[string]severity {
	t.Helper()
	var findings []finding
	if err := json.Unmarshal([]byte(r.out), &findings); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.err)
	}
	out := map[string]severity{}
	for _, f := range findings {
		if f.Severity == severityOK {
			continue
		}
		if f.Code == "" || f.Hint == "" || f.Text == "" {
			t.Errorf("a finding without code, text or hint: %+v", f)
		}
		out[f.Code] = f.Severity
	}
	return out
}

func TestCheckFinds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(api *fakeAPI)
		args  []string
		want  map[string]severity
		code  int
	}{
		{"nothing", func(*fakeAPI) {}, nil, map[string]severity{}, 0},
		{"no server", func(api *fakeAPI) { api.pages["/version"] = page{500, "no"} }, nil, map[string]severity{"NP001": severityError}, 2},
		{"old server", func(api *fakeAPI) { api.pages["/version"] = page{200, strings.ReplaceAll(version, "37", "28")} }, nil, map[string]severity{"NP002": severityError}, 2},
		{"older server", func(api *fakeAPI) { api.pages["/version"] = page{200, strings.ReplaceAll(version, "37", "33")} }, nil, map[string]severity{"NP002": severityWarning}, 0},
		{"no deployment", func(api *fakeAPI) {
			delete(api.objects, "/apis/apps/v1/namespaces/netproxy-system/deployments/netproxy-webhook")
		}, nil, map[string]severity{"NP004": severityError}, 2},
		{"replicas", func(api *fakeAPI) {
			api.objects["/apis/apps/v1/namespaces/netproxy-system/deployments/netproxy-webhook"].Object["status"] = map[string]any{}
		}, nil, map[string]severity{"NP005": severityError}, 2},
		{"scaled to 0", func(api *fakeAPI) {
			_ = unstructured.SetNestedField(api.objects["/apis/apps/v1/namespaces/netproxy-system/deployments/netproxy-webhook"].Object, int64(0), "spec", "replicas")
		}, nil, map[string]severity{"NP005": severityError}, 2},
		{"no webhook", func(api *fakeAPI) { delete(api.objects, webhookPath) }, nil, map[string]severity{"NP006": severityError}, 2},
		{"fails open", func(api *fakeAPI) { api.webhookField("failurePolicy", "Ignore") }, nil, map[string]severity{"NP007": severityError}, 2},
		{"no bundle", func(api *fakeAPI) { api.webhookField("clientConfig", map[string]any{}) }, nil, map[string]severity{"NP008": severityError}, 2},
		{"bad bundle", func(api *fakeAPI) { api.webhookField("clientConfig", map[string]any{"caBundle": "bm90aGluZw=="}) }, nil, map[string]severity{"NP008": severityError}, 2},
		{"no answer", func(api *fakeAPI) {
			api.pages["PATCH /apis/netproxy.dev/v1alpha1/namespaces/demo/egresspolicies/netproxy-check"] = page{500, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"Internal error occurred: failed calling webhook \"policies.netproxy.dev\": timeout"}`}
		}, nil, map[string]severity{"NP009": severityError}, 2},
		{"no rights", func(api *fakeAPI) { api.pages[reviews] = page{201, strings.Replace(allowed, "true", "false", 1)} }, nil, map[string]severity{"NP010": severityWarning}, 0},
		{"no eyes", func(api *fakeAPI) {
			api.pages["GET "+webhookPath] = page{403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`}
		}, nil, map[string]severity{"NP010": severityWarning}, 1},
		{"defaults", func(api *fakeAPI) {
			api.add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: netproxy-defaults, namespace: netproxy-system}\ndata: {privateRanges: \"[25.0.0.0/33]\"}\n")
		}, nil, map[string]severity{"NP011": severityError}, 2},
		{"default resources", func(api *fakeAPI) {
			api.add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: netproxy-defaults, namespace: netproxy-system}\ndata: {resources: much}\n")
		}, nil, map[string]severity{"NP011": severityError}, 2},
		{"good defaults", func(api *fakeAPI) {
			api.add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: netproxy-defaults, namespace: netproxy-system}\ndata: {privateRanges: \"[25.0.0.0/8]\", resources: \"{limits: {memory: 1Gi}}\"}\n")
		}, nil, map[string]severity{}, 0},
		{"policies", func(api *fakeAPI) {
			api.add(agentPolicy + strings.Replace(troubled, "2027-01-30", "2026-11-10", 1))
			api.add(basePolicy)
		}, nil, map[string]severity{"NP030": severityWarning, "NP033": severityError, "NP036": severityWarning}, 2},
		{"pods", func(api *fakeAPI) { api.addAll(agentPods); api.pages[statusPort+"/revision"] = page{503, "no"} }, nil, map[string]severity{"NP040": severityWarning, "NP020": severityWarning}, 0},
		{"before", func(*fakeAPI) {}, []string{"--pre"}, map[string]severity{}, 0},
		{"before, nodes", func(api *fakeAPI) { api.addAll(badNodes) }, []string{"--pre"}, map[string]severity{"NP021": severityWarning}, 2},
		{"before, levels", func(api *fakeAPI) {
			api.add("apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
		}, []string{"--pre"}, map[string]severity{"NP032": severityWarning}, 0},
	} {
		api := newFakeAPI(t, oneNode)
		api.changed = api.available
		api.pages["/version"] = page{200, version}
		api.pages[reviews] = page{201, allowed}
		if r := api.executeIn("", "install", "--apply"); r.code != ExitGood {
			t.Fatal(r.err)
		}
		tc.spoil(api)
		r := api.executeIn("", append([]string{"check", "-o", "json"}, tc.args...)...)
		if diff := cmp.Diff(tc.want, codes(t, r)); diff != "" || r.code != tc.code {
			t.Errorf("%s: %d (-want +got):\n%s%s", tc.name, r.code, diff, r.out)
		}
	}
}

const webhookPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/netproxy"

func (f *fakeAPI) webhookField(field string, value any) {
	f.objects[webhookPath].Object["webhooks"].([]any)[0].(map[string]any)[field] = value
}

func (f *fakeAPI) addAll(text string) {
	for doc := range strings.SplitSeq(text, "---\n") {
		f.add(doc)
	}
}
