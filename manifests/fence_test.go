package manifests_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/tests/cluster"
)

// fenced is a cluster with the roles and fences, seen by an administrator and by netproxy's account, and a namespace to try in.
type fenced struct {
	admin, own dynamic.Interface
	reviews    kubernetes.Interface
	namespace  string
}

func newFenced(t *testing.T) *fenced {
	t.Helper()
	state := os.Getenv(cluster.Env)
	if state == "" {
		t.Skip(cluster.ErrNone)
	}
	path := filepath.Join(state, "kubeconfig")
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	reviews := kubernetes.NewForConfigOrDie(config)
	install(t, path)
	own := rest.CopyConfig(config)
	own.Impersonate = rest.ImpersonationConfig{UserName: ownAccount, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + ownNamespace, "system:authenticated"}}
	f := &fenced{admin: dynamic.NewForConfigOrDie(config), own: dynamic.NewForConfigOrDie(own), reviews: reviews}
	f.namespace = f.newNamespace(t, nil)
	return f
}

// install applies what the fences need and nothing else: a running netproxy in the same cluster is not touched.
func install(t *testing.T, kubeconfig string) {
	t.Helper()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("NOT TESTED: kubectl is not installed")
	}
	// Somebody else may have installed netproxy in this cluster.
	apply := []string{"apply", "--server-side", "--force-conflicts"}
	for _, file := range append(glob(t, "crd/netproxy*.yaml"), "install/10-namespace.yaml", "install/20-rbac.yaml", "install/30-fence.yaml") {
		apply = append(apply, "-f", file)
	}
	for _, args := range [][]string{apply, {"wait", "--for=condition=Established", "--timeout=30s", "crd", "egresspolicies.netproxy.dev"}} {
		if out, err := exec.Command(kubectl, append([]string{"--kubeconfig", kubeconfig}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func (f *fenced) newNamespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns, err := f.reviews.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "fence-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.reviews.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return ns.Name
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

func policies() schema.GroupVersionResource {
	return v1alpha1.GroupVersion.WithResource("egresspolicies")
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return o
}

// create makes an object as the administrator, once the fences are in force.
func (f *fenced) create(t *testing.T, resource schema.GroupVersionResource, text string) string {
	t.Helper()
	made, err := f.admin.Resource(resource).Namespace(f.namespace).Create(t.Context(), object(t, text), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.GetName()
}

// patch returns what the API server says to a merge patch.
func patch(t *testing.T, as dynamic.ResourceInterface, name, text string, subresources ...string) string {
	t.Helper()
	_, err := as.Patch(t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{}, subresources...)
	return answer(err)
}

func answer(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func check(t *testing.T, doing, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %q, want %q", doing, got, want)
	}
}

// enabled makes a namespace with the label, and with a policy, for which a netproxy that runs in this cluster leaves the label alone.
func (f *fenced) enabled(t *testing.T) string {
	t.Helper()
	ns := f.newNamespace(t, map[string]string{v1alpha1.LabelEnabled: "true"})
	if _, err := f.admin.Resource(policies()).Namespace(ns).Create(t.Context(), object(t, emptyPolicy), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// hasLabel is what counts: netproxy's webhook puts the label back before the fence looks.
func (f *fenced) hasLabel(t *testing.T, ns string) bool {
	t.Helper()
	got, err := f.admin.Resource(core("namespaces")).Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetLabels()[v1alpha1.LabelEnabled] == "true"
}

// waitForFences tries what they forbid until they do: a new policy is in force after some seconds only.
func (f *fenced) waitForFences(t *testing.T) {
	t.Helper()
	ns := f.enabled(t)
	for range 100 {
		own := patch(t, f.own.Resource(core("namespaces")), ns, `{"metadata":{"labels":{"probe":"1"}}}`)
		patch(t, f.admin.Resource(core("namespaces")), ns, `{"metadata":{"labels":{"netproxy.dev/enabled":null}}}`)
		if own != "ok" && f.hasLabel(t, ns) {
			return
		}
		patch(t, f.admin.Resource(core("namespaces")), ns, `{"metadata":{"labels":{"probe":null,"netproxy.dev/enabled":"true"}}}`)
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the fences are not in force after 10 s")
}

func TestFences(t *testing.T) {
	f := newFenced(t)
	f.waitForFences(t)
	t.Run("pods", f.pods)
	t.Run("secrets", f.secrets)
	t.Run("namespaces", f.namespaces)
	t.Run("label", f.label)
	t.Run("policies", f.policies)
	t.Run("probes", f.probes)
	t.Run("roles", f.roles)
}

const onlyAnnotation = "of a pod netproxy may change the annotation netproxy.dev/revision only"

func (f *fenced) pods(t *testing.T) {
	// The controller that makes default service accounts may need a moment, so the pod goes without.
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"p-","annotations":%},"spec":{"automountServiceAccountToken":false,"serviceAccountName":"default",
		"containers":[{"name":"c","image":"netproxy.test/pause:1","imagePullPolicy":"Never"}]}}`
	f.waitForAccount(t)
	for _, annotations := range []string{"{}", `{"a":"1"}`, `{"a":"1","netproxy.dev/revision":"1"}`} {
		name := f.create(t, core("pods"), strings.Replace(pod, "%", annotations, 1))
		own := f.own.Resource(core("pods")).Namespace(f.namespace)
		check(t, "revision", patch(t, own, name, `{"metadata":{"annotations":{"netproxy.dev/revision":"2"}}}`), "ok")
		check(t, "no revision", patch(t, own, name, `{"metadata":{"annotations":{"netproxy.dev/revision":null}}}`), "ok")
		for _, change := range []string{
			`{"metadata":{"annotations":{"b":"1"}}}`,
			`{"metadata":{"annotations":{"a":"2"}}}`,
			`{"metadata":{"annotations":{"netproxy.dev/revision":"3","netproxy.dev/trusted-cas":"x"}}}`,
			`{"metadata":{"labels":{"app":"x"},"annotations":{"netproxy.dev/revision":"3"}}}`,
			`{"metadata":{"finalizers":["example.com/x"]}}`,
			`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}`,
			`{"spec":{"containers":[{"name":"c","image":"netproxy.test/evil:1","imagePullPolicy":"Never"}]}}`,
			`{"spec":{"activeDeadlineSeconds":1}}`,
		} {
			check(t, change, patch(t, own, name, change), onlyAnnotation)
		}
		if annotations != "{}" {
			check(t, "remove", patch(t, own, name, `{"metadata":{"annotations":null}}`), onlyAnnotation)
		}
		for _, sub := range []string{"status", "ephemeralcontainers", "resize"} {
			check(t, sub, patch(t, own, name, `{"metadata":{"annotations":{"netproxy.dev/revision":"3"}}}`, sub), "cannot patch resource")
		}
		check(t, "delete", answer(own.Delete(t.Context(), name, metav1.DeleteOptions{})), "cannot delete resource")
		check(t, "an administrator", patch(t, f.admin.Resource(core("pods")).Namespace(f.namespace), name, `{"metadata":{"labels":{"app":"x"}}}`), "ok")
	}
}

func (f *fenced) waitForAccount(t *testing.T) {
	t.Helper()
	for range 100 {
		if _, err := f.reviews.CoreV1().ServiceAccounts(f.namespace).Get(t.Context(), "default", metav1.GetOptions{}); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the namespace gets no default service account")
}

func (f *fenced) secrets(t *testing.T) {
	const onlyNames = "outside of its own namespace netproxy may write only Secrets named"
	secret := func(name, kind string) *unstructured.Unstructured {
		return object(t, `{"apiVersion":"v1","kind":"Secret","type":"`+kind+`","metadata":{"name":"`+name+`","annotations":{"kubernetes.io/service-account.name":"default"}}}`)
	}
	f.create(t, core("secrets"), `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"users"}}`)
	own := f.own.Resource(core("secrets"))
	here := own.Namespace(f.namespace)
	force := metav1.ApplyOptions{FieldManager: "netproxy", Force: true}
	for name, want := range map[string]string{"netproxy-egp-agent": "ok", "netproxy-cegp-agent": "ok", "netproxy-egpagent": onlyNames, "users": onlyNames, "new": onlyNames, "x-netproxy-egp-y": onlyNames} {
		_, err := here.Apply(t.Context(), name, secret(name, "Opaque"), force)
		check(t, "apply "+name, answer(err), want)
		if name != "users" {
			_, err := here.Create(t.Context(), secret(name+"-2", "Opaque"), metav1.CreateOptions{})
			check(t, "create "+name, answer(err), want)
		}
		if want == "ok" {
			check(t, "delete "+name, answer(here.Delete(t.Context(), name, metav1.DeleteOptions{})), "ok")
		}
	}
	check(t, "patch", patch(t, here, "users", `{"stringData":{"a":"b"}}`), onlyNames)
	check(t, "delete", answer(here.Delete(t.Context(), "users", metav1.DeleteOptions{})), onlyNames)
	check(t, "delete all", answer(here.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})), "cannot deletecollection")
	generated := secret("", "Opaque")
	generated.SetGenerateName("netproxy-egp-")
	_, err := here.Create(t.Context(), generated, metav1.CreateOptions{})
	check(t, "a generated name", answer(err), "ok")
	for _, namespace := range []string{f.namespace, ownNamespace} {
		_, err := own.Namespace(namespace).Create(t.Context(), secret("netproxy-egp-token", "kubernetes.io/service-account-token"), metav1.CreateOptions{})
		check(t, "a token in "+namespace, answer(err), "only Secrets of the types")
	}
	_, err = own.Namespace(ownNamespace).Apply(t.Context(), "netproxy-ca.egp.fence.test", secret("netproxy-ca.egp.fence.test", "Opaque"), force)
	check(t, "a CA", answer(err), "ok")
	check(t, "delete the CA", answer(own.Namespace(ownNamespace).Delete(t.Context(), "netproxy-ca.egp.fence.test", metav1.DeleteOptions{})), "ok")
}

func (f *fenced) namespaces(t *testing.T) {
	const onlyLabel = "of a namespace netproxy may change the label netproxy.dev/enabled only"
	own := f.own.Resource(core("namespaces"))
	for change, want := range map[string]string{
		`{"metadata":{"labels":{"netproxy.dev/enabled":"true"}}}`:                          "ok",
		`{"metadata":{"labels":{"netproxy.dev/enabled":"true","x":"y"}}}`:                  onlyLabel,
		`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`:      onlyLabel,
		`{"metadata":{"labels":null}}`:                                                     "ok", // the API server puts the name back
		`{"metadata":{"annotations":{"x":"y"}}}`:                                           onlyLabel,
		`{"metadata":{"labels":{"netproxy.dev/enabled":null},"finalizers":["example/x"]}}`: onlyLabel,
	} {
		check(t, change, patch(t, own, f.namespace, change), want)
	}
	check(t, "delete", answer(own.Delete(t.Context(), f.namespace, metav1.DeleteOptions{})), "cannot delete")
}

func (f *fenced) label(t *testing.T) {
	ns := f.enabled(t)
	admin := f.admin.Resource(core("namespaces"))
	for _, change := range []string{
		`{"metadata":{"labels":{"netproxy.dev/enabled":null}}}`,
		`{"metadata":{"labels":{"netproxy.dev/enabled":"false"}}}`,
		`{"metadata":{"labels":null}}`,
	} {
		if got := patch(t, admin, ns, change); got != "ok" {
			check(t, change, got, "the label netproxy.dev/enabled is netproxy's")
		}
		if !f.hasLabel(t, ns) {
			t.Errorf("%s: the label is gone", change)
		}
	}
	check(t, "another label", patch(t, admin, ns, `{"metadata":{"labels":{"x":"y"}}}`), "ok")
	check(t, "netproxy removes it", patch(t, f.own.Resource(core("namespaces")), ns, `{"metadata":{"labels":{"netproxy.dev/enabled":null}}}`), "ok")
	check(t, "without the label", patch(t, admin, ns, `{"metadata":{"labels":{"z":"y"}}}`), "ok")
}

const emptyPolicy = `{"apiVersion":"netproxy.dev/v1alpha1","kind":"EgressPolicy","metadata":{"name":"agent"},"spec":{"podSelector":{"matchLabels":{"never":"there"}},"egress":{"defaultAction":"Deny"}}}`

func (f *fenced) policies(t *testing.T) {
	f.create(t, policies(), emptyPolicy)
	own := f.own.Resource(policies()).Namespace(f.namespace)
	check(t, "finalizer", patch(t, own, "agent", `{"metadata":{"finalizers":["netproxy.dev/cleanup"]}}`), "ok")
	check(t, "spec", patch(t, own, "agent", `{"spec":{"egress":{"defaultAction":"Allow"}}}`), "netproxy must not change what a policy says")
	check(t, "status", patch(t, own, "agent", `{"status":{"observedGeneration":1}}`, "status"), "ok")
	check(t, "no finalizer", patch(t, own, "agent", `{"metadata":{"finalizers":null}}`), "ok")
	check(t, "delete", answer(own.Delete(t.Context(), "agent", metav1.DeleteOptions{})), "cannot delete")
}

// connect asks for a stream into a pod. No connection is upgraded: it does not come to that.
func (f *fenced) connect(t *testing.T, namespace, pod, subresource string) string {
	t.Helper()
	return answer(f.reviews.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource(subresource).
		Param("stdout", "true").Param("command", "x").Do(t.Context()).Error())
}

func (f *fenced) probes(t *testing.T) {
	ns, elsewhere, probe := f.enabled(t), f.newNamespace(t, nil), v1alpha1.ProbePrefix+"x"
	for _, subresource := range []string{"exec", "attach"} {
		check(t, subresource, f.connect(t, ns, probe, subresource), "nobody runs commands in a probe pod")
		check(t, subresource+" of others", f.connect(t, ns, "x-"+probe, subresource), "not found")
		check(t, subresource+" elsewhere", f.connect(t, elsewhere, probe, subresource), "not found")
	}
}

// roles asks the API server what RBAC says, the positive control included.
func (f *fenced) roles(t *testing.T) {
	for want, accesses := range map[string][]string{
		"allowed": {
			"get,list,watch,patch pods", "get,list,watch,create,patch,delete secrets", "get,list,watch configmaps", "create,patch events",
			"get,patch mutatingwebhookconfigurations.admissionregistration.k8s.io netproxy", "get,list,watch,patch namespaces",
			"create subjectaccessreviews.authorization.k8s.io",
		},
		"denied": {
			"create,update,delete pods", "create,update,delete,deletecollection namespaces", "update,deletecollection secrets", "update secrets netproxy-webhook-tls", "create,patch configmaps",
			"get,patch validatingwebhookconfigurations.admissionregistration.k8s.io other", "patch,delete validatingadmissionpolicies.admissionregistration.k8s.io",
			"get,list nodes", "create pods/exec", "create tokenreviews.authentication.k8s.io", "create serviceaccounts", "patch,bind,escalate clusterroles.rbac.authorization.k8s.io", "create,update,delete egresspolicies.netproxy.dev",
			"impersonate users", "get leases.coordination.k8s.io netproxy-webhook", "delete validatingwebhookconfigurations.admissionregistration.k8s.io netproxy",
		},
	} {
		for _, access := range accesses {
			fields := append(strings.Fields(access), "")
			resource, group, _ := strings.Cut(fields[1], ".")
			for _, verb := range strings.Split(fields[0], ",") {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: ownAccount, ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: f.namespace, Verb: verb, Group: group, Resource: resource, Name: fields[2],
				}}}
				got, err := f.reviews.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if got.Status.Allowed != (want == "allowed") {
					t.Errorf("%s %s is not %s", verb, fields[1], want)
				}
			}
		}
	}
}
