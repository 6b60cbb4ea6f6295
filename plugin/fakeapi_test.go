package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// fakeAPI is as much of an API server as the verbs need: objects by path, lists with label selectors, server-side apply that
// replaces, merge patches, and pages that stand for subresources and errors.
type fakeAPI struct {
	t       *testing.T
	url     string
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	// pages answer a path, or "METHOD path", whatever is stored there.
	pages map[string]page
	// changed is called with every object that was written, and may change it: the controller's part.
	changed func(*unstructured.Unstructured)
	// asked is called with every request, before it is answered.
	asked    func(method, path string)
	requests []string
}

type page struct {
	status int
	body   string
}

func newFakeAPI(t *testing.T, yamls ...string) *fakeAPI {
	t.Helper()
	f := &fakeAPI{t: t, objects: map[string]*unstructured.Unstructured{}, pages: map[string]page{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	for _, text := range yamls {
		for doc := range strings.SplitSeq(text, "---\n") {
			f.add(doc)
		}
	}
	return f
}

func (f *fakeAPI) add(text string) {
	f.t.Helper()
	if strings.TrimSpace(text) == "" {
		return
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		f.t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		f.t.Fatal(err)
	}
	f.objects[pathOf(object)] = object
}

func pathOf(object *unstructured.Unstructured) string {
	gvk := object.GroupVersionKind()
	path := "/apis/" + gvk.Group + "/" + gvk.Version
	if gvk.Group == "" {
		path = "/api/" + gvk.Version
	}
	if object.GetNamespace() != "" {
		path += "/namespaces/" + object.GetNamespace()
	}
	return path + "/" + plural(gvk.Kind) + "/" + object.GetName()
}

func plural(kind string) string {
	kind = strings.ToLower(kind)
	if strings.HasSuffix(kind, "y") {
		return strings.TrimSuffix(kind, "y") + "ies"
	}
	return kind + "s"
}

// executeIn runs the command line against the API server.
func (f *fakeAPI) executeIn(stdin string, args ...string) result {
	f.t.Helper()
	return execute(f.t, stdin, append(slices.Clone(args), "--kubeconfig", f.kubeconfig())...)
}

func (f *fakeAPI) executeWith(ctx context.Context, args ...string) result {
	f.t.Helper()
	return executeWith(ctx, f.t, "", append(slices.Clone(args), "--kubeconfig", f.kubeconfig())...)
}

func (f *fakeAPI) kubeconfig() string {
	f.t.Helper()
	config := filepath.Join(f.t.TempDir(), "config")
	write(f.t, config, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: fake, cluster: {server: %q}}]
users: [{name: me, user: {token: none}}]
contexts: [{name: fake, context: {cluster: fake, user: me, namespace: demo}}]
current-context: fake
`, f.url))
	return config
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	if f.asked != nil {
		f.asked(r.Method, path)
	}
	f.requests = append(f.requests, r.Method+" "+path)
	for _, key := range []string{r.Method + " " + path, path} {
		if p, ok := f.pages[key]; ok {
			f.reply(w, p.status, p.body)
			return
		}
	}
	switch r.Method {
	case http.MethodGet:
		f.get(w, r)
	case http.MethodPatch:
		f.patch(w, r)
	case http.MethodPost:
		f.create(w, r)
	case http.MethodDelete:
		f.remove(w, path)
	default:
		f.fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

func (f *fakeAPI) reply(w http.ResponseWriter, status int, body string) {
	if strings.HasPrefix(body, "{") {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func (f *fakeAPI) fail(w http.ResponseWriter, code int, reason, message string) {
	body, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: metav1.StatusReason(reason), Message: message,
	})
	f.reply(w, code, string(body))
}

func (f *fakeAPI) notFound(w http.ResponseWriter, path string) {
	parts := strings.Split(path, "/")
	f.fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", parts[len(parts)-2], parts[len(parts)-1]))
}

func (f *fakeAPI) get(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if object, ok := f.objects[path]; ok {
		f.object(w, object)
		return
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) == 2 && parts[0] == "api" || len(parts) == 3 && parts[0] == "apis" {
		f.discovery(w, strings.Join(parts[1:], "/"))
		return
	}
	if len(parts)%2 == 0 == (parts[0] == "api") && !isCollection(parts) {
		f.notFound(w, path)
		return
	}
	f.list(w, r)
}

// discovery names every kind that an installation has; the group does not matter to the one who asks.
func (f *fakeAPI) discovery(w http.ResponseWriter, version string) {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: version}
	for _, kind := range strings.Fields("Namespace ClusterRole ClusterRoleBinding CustomResourceDefinition ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingWebhookConfiguration ClusterEgressPolicy") {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: plural(kind), Kind: kind})
	}
	for _, kind := range strings.Fields("ServiceAccount Role RoleBinding Service Deployment PodDisruptionBudget NetworkPolicy ConfigMap Secret EgressPolicy") {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: plural(kind), Kind: kind, Namespaced: true})
	}
	body, _ := json.Marshal(list)
	f.reply(w, http.StatusOK, string(body))
}

// isCollection: /api/v1/pods, /api/v1/namespaces/x/pods and the same below /apis/group/version.
func isCollection(parts []string) bool {
	rest := parts[2:]
	if parts[0] == "apis" {
		rest = parts[3:]
	}
	return len(rest)%2 == 1
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	cut := strings.LastIndex(r.URL.Path, "/")
	base, resource := r.URL.Path[:cut], r.URL.Path[cut+1:]
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		object := f.objects[path]
		if !strings.HasPrefix(path, base+"/") || !strings.Contains(path, "/"+resource+"/") || !selector.Matches(labels.Set(object.GetLabels())) {
			continue
		}
		items = append(items, object.Object)
	}
	version, kind := "v1", map[string]string{
		"pods": "PodList", "secrets": "SecretList", "namespaces": "NamespaceList", "events": "EventList",
		"nodes": "NodeList", "egresspolicies": "EgressPolicyList", "clusteregresspolicies": "ClusterEgressPolicyList",
	}[resource]
	if strings.HasPrefix(base, "/apis/netproxy.dev/") {
		version = "netproxy.dev/v1alpha1"
	}
	body, _ := json.Marshal(map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{}, "items": items})
	f.reply(w, http.StatusOK, string(body))
}

func (f *fakeAPI) object(w http.ResponseWriter, object *unstructured.Unstructured) {
	body, err := object.MarshalJSON()
	if err != nil {
		f.t.Error(err)
	}
	f.reply(w, http.StatusOK, string(body))
}

func (f *fakeAPI) patch(w http.ResponseWriter, r *http.Request) {
	var sent map[string]any
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	path := r.URL.Path
	old, exists := f.objects[path]
	object := &unstructured.Unstructured{Object: sent}
	if r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
		if !exists {
			f.notFound(w, path)
			return
		}
		object = old.DeepCopy()
		merge(object.Object, sent)
	} else if exists {
		object.SetGeneration(old.GetGeneration())
		object.Object["status"] = old.Object["status"]
	}
	object.SetGeneration(object.GetGeneration() + 1)
	object.SetResourceVersion(strconv.Itoa(len(f.requests)))
	if r.URL.Query().Get("dryRun") == "" {
		if f.changed != nil {
			f.changed(object)
		}
		f.objects[path] = object
	}
	f.object(w, object)
}

func (f *fakeAPI) create(w http.ResponseWriter, r *http.Request) {
	object := &unstructured.Unstructured{}
	if err := json.NewDecoder(r.Body).Decode(&object.Object); err != nil {
		f.fail(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	path := pathOf(object)
	if _, exists := f.objects[path]; exists {
		f.fail(w, http.StatusConflict, "AlreadyExists", path)
		return
	}
	object.SetUID(types.UID("uid-of-" + object.GetName()))
	if f.changed != nil {
		f.changed(object)
	}
	f.objects[path] = object
	f.object(w, object)
}

func merge(into, patch map[string]any) {
	for key, value := range patch {
		child, ok := value.(map[string]any)
		if have, isMap := into[key].(map[string]any); ok && isMap {
			merge(have, child)
			continue
		}
		into[key] = value
	}
}

func (f *fakeAPI) remove(w http.ResponseWriter, path string) {
	if _, ok := f.objects[path]; !ok {
		f.notFound(w, path)
		return
	}
	delete(f.objects, path)
	f.reply(w, http.StatusOK, `{"apiVersion":"v1","kind":"Status","status":"Success"}`)
}
