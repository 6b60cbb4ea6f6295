package manifests_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/manifests"
)

const (
	ownNamespace = "netproxy-system"
	ownName      = "netproxy-webhook"
	ownAccount   = "system:serviceaccount:" + ownNamespace + ":" + ownName
)

// kinds makes an empty object of each kind that the installation may contain.
func kinds() map[string]func() metav1.Object {
	return map[string]func() metav1.Object{
		"v1/Namespace":                                                     func() metav1.Object { return &corev1.Namespace{} },
		"v1/ServiceAccount":                                                func() metav1.Object { return &corev1.ServiceAccount{} },
		"v1/Service":                                                       func() metav1.Object { return &corev1.Service{} },
		"apps/v1/Deployment":                                               func() metav1.Object { return &appsv1.Deployment{} },
		"policy/v1/PodDisruptionBudget":                                    func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
		"networking.k8s.io/v1/NetworkPolicy":                               func() metav1.Object { return &networkingv1.NetworkPolicy{} },
		"rbac.authorization.k8s.io/v1/ClusterRole":                         func() metav1.Object { return &rbacv1.ClusterRole{} },
		"rbac.authorization.k8s.io/v1/ClusterRoleBinding":                  func() metav1.Object { return &rbacv1.ClusterRoleBinding{} },
		"rbac.authorization.k8s.io/v1/Role":                                func() metav1.Object { return &rbacv1.Role{} },
		"rbac.authorization.k8s.io/v1/RoleBinding":                         func() metav1.Object { return &rbacv1.RoleBinding{} },
		"admissionregistration.k8s.io/v1/MutatingWebhookConfiguration":     func() metav1.Object { return &admissionv1.MutatingWebhookConfiguration{} },
		"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration":   func() metav1.Object { return &admissionv1.ValidatingWebhookConfiguration{} },
		"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy":        func() metav1.Object { return &admissionv1.ValidatingAdmissionPolicy{} },
		"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding": func() metav1.Object { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
	}
}

// documents are the texts of all objects, in order.
func documents(t *testing.T) []string {
	t.Helper()
	dir, err := manifests.Install()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	var all []string
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(string(data), "\n---\n")...)
	}
	return all
}

// decodeAll reads every object into its type, and knows no unknown fields.
func decodeAll(t *testing.T) map[string]metav1.Object {
	t.Helper()
	all := map[string]metav1.Object{}
	for _, text := range documents(t) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatal(err)
		}
		empty, ok := kinds()[meta.APIVersion+"/"+meta.Kind]
		if !ok {
			t.Fatalf("unexpected kind %s/%s", meta.APIVersion, meta.Kind)
		}
		object := empty()
		if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
			t.Errorf("%s: %v", meta.Kind, err)
		}
		key := meta.Kind + "/" + object.GetName()
		if _, twice := all[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		all[key] = object
	}
	return all
}

func get[T metav1.Object](t *testing.T, key string) T {
	t.Helper()
	object, ok := decodeAll(t)[key].(T)
	if !ok {
		t.Fatalf("no %s", key)
	}
	return object
}

func TestInstallDecodes(t *testing.T) {
	all := decodeAll(t)
	for key, object := range all {
		if ns := object.GetNamespace(); ns != "" && ns != ownNamespace {
			t.Errorf("%s is in namespace %s", key, ns)
		}
		if policy, ok := object.(*admissionv1.ValidatingAdmissionPolicy); ok {
			binding, ok := all["ValidatingAdmissionPolicyBinding/"+policy.Name].(*admissionv1.ValidatingAdmissionPolicyBinding)
			if !ok || binding.Spec.PolicyName != policy.Name || !slices.Equal(binding.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) {
				t.Errorf("%s has no binding that denies", key)
			}
			if policy.Spec.FailurePolicy == nil || *policy.Spec.FailurePolicy != admissionv1.Fail {
				t.Errorf("%s does not fail closed", key)
			}
		}
	}
	if strings.Contains(strings.Join(documents(t), ""), "hostPath") {
		t.Error("there is a hostPath")
	}
}

// TestInstallFitsTogether holds names that stand in several objects, in expressions even, to each other and to the code.
func TestInstallFitsTogether(t *testing.T) {
	deployment := get[*appsv1.Deployment](t, "Deployment/"+ownName)
	service := get[*corev1.Service](t, "Service/"+ownName)
	labels := deployment.Spec.Template.Labels
	for name, selector := range map[string]map[string]string{
		"Deployment":          deployment.Spec.Selector.MatchLabels,
		"Service":             service.Spec.Selector,
		"PodDisruptionBudget": get[*policyv1.PodDisruptionBudget](t, "PodDisruptionBudget/"+ownName).Spec.Selector.MatchLabels,
		"NetworkPolicy":       get[*networkingv1.NetworkPolicy](t, "NetworkPolicy/"+ownName).Spec.PodSelector.MatchLabels,
	} {
		if !maps.Equal(selector, labels) {
			t.Errorf("%s selects %v, the pods have %v", name, selector, labels)
		}
	}
	ports := map[string]int32{}
	for _, p := range deployment.Spec.Template.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	if diff := cmp.Diff(map[string]int32{"webhook": 9443, "metrics": 8080, "health": 8081}, ports); diff != "" {
		t.Error(diff)
	}
	for _, p := range service.Spec.Ports {
		if ports[p.TargetPort.StrVal] == 0 {
			t.Errorf("port %s of the Service leads to no port of the container", p.Name)
		}
	}
	text := strings.Join(documents(t), "\n")
	for _, account := range regexp.MustCompile(`system:serviceaccount:[a-z:-]+`).FindAllString(text, -1) {
		if account != ownAccount {
			t.Errorf("an expression is about %s", account)
		}
	}
	known := []string{v1alpha1.LabelEnabled, v1alpha1.AnnotationRevision}
	for _, name := range regexp.MustCompile(`netproxy\.dev/[a-z-]+`).FindAllString(text, -1) {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no label or annotation that the code knows", name)
		}
	}
	for _, kind := range []string{v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy} {
		if prefix := v1alpha1.SecretName(kind, ""); !strings.Contains(text, fmt.Sprintf("request.name.startsWith('%s')", prefix)) {
			t.Errorf("no fence for Secrets %s*", prefix)
		}
	}
	if !strings.Contains(text, fmt.Sprintf("request.name.startsWith('%s')", v1alpha1.ProbePrefix)) {
		t.Errorf("no fence for pods %s*", v1alpha1.ProbePrefix)
	}
}

type webhook struct {
	Path, Failure, Reinvocation string
	Rules                       []string
	OnlyEnabled, NotSystem      bool
}

func TestInstallWebhooks(t *testing.T) {
	got := map[string]webhook{}
	mutating := get[*admissionv1.MutatingWebhookConfiguration](t, "MutatingWebhookConfiguration/netproxy")
	for _, w := range mutating.Webhooks {
		got["mutating "+w.Name] = describe(t, w.ClientConfig, *w.FailurePolicy, string(*w.ReinvocationPolicy), w.Rules, w.NamespaceSelector)
	}
	validating := get[*admissionv1.ValidatingWebhookConfiguration](t, "ValidatingWebhookConfiguration/netproxy")
	for _, w := range validating.Webhooks {
		got["validating "+w.Name] = describe(t, w.ClientConfig, *w.FailurePolicy, "", w.Rules, w.NamespaceSelector)
	}
	want := map[string]webhook{
		"mutating pods.netproxy.dev":       {"/mutate-pod", "Fail", "IfNeeded", []string{"CREATE pods", "UPDATE pods/ephemeralcontainers"}, true, true},
		"mutating namespaces.netproxy.dev": {"/mutate-namespace", "Ignore", "Never", []string{"CREATE UPDATE namespaces"}, false, true},
		"validating pods.netproxy.dev":     {"/validate-pod", "Fail", "", []string{"CREATE UPDATE pods pods/ephemeralcontainers"}, true, true},
		"validating policies.netproxy.dev": {"/validate-policy", "Fail", "", []string{"CREATE UPDATE egresspolicies clusteregresspolicies"}, false, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func describe(t *testing.T, client admissionv1.WebhookClientConfig, failure admissionv1.FailurePolicyType, reinvocation string, rules []admissionv1.RuleWithOperations, selector *metav1.LabelSelector) webhook {
	t.Helper()
	if client.Service == nil || client.Service.Name != ownName || client.Service.Namespace != ownNamespace || len(client.CABundle) > 0 {
		t.Errorf("client %v", client)
	}
	w := webhook{Path: *client.Service.Path, Failure: string(failure), Reinvocation: reinvocation}
	for _, r := range rules {
		words := []string{}
		for _, op := range r.Operations {
			words = append(words, string(op))
		}
		w.Rules = append(w.Rules, strings.Join(append(words, r.Resources...), " "))
	}
	if selector == nil {
		return w
	}
	w.OnlyEnabled = selector.MatchLabels[v1alpha1.LabelEnabled] == "true"
	for _, e := range selector.MatchExpressions {
		excluded := e.Key == corev1.LabelMetadataName && e.Operator == metav1.LabelSelectorOpNotIn
		for _, ns := range e.Values {
			excluded = excluded && v1alpha1.IsSystemNamespace(ns, ownNamespace)
		}
		w.NotSystem = excluded && len(e.Values) == 4
	}
	return w
}

// TestKustomize holds the kustomization to the embedded files, and the images to its transformer.
func TestKustomize(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("NOT TESTED: kubectl is not installed")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	file := dir + "/install/kustomization.yaml"
	text := strings.ReplaceAll(string(read(t, file)), "newTag: dev}", "newName: example/x, newTag: v9}")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(kubectl, "kustomize", dir+"/install").Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), "\nkind: "); n < len(documents(t)) {
		t.Errorf("%d objects, want %d and the CRDs", n, len(documents(t)))
	}
	if n := strings.Count(string(out), "example/x:v9"); n != 3 || strings.Contains(string(out), ":dev") {
		t.Errorf("%d images were replaced, want the webhook's, the init container's and the plugin's", n)
	}
}
