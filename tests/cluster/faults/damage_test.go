package faults

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// running is a world with a program that has done its work.
func running(t *testing.T) (*world, *reaper) {
	t.Helper()
	c, cfg := open(t)
	w := newWorld(t, c, cfg)
	r, _, stop := start(t, cfg, 0, about(w.ns, "agent"))
	t.Cleanup(stop)
	w.eventually(t, "at first", func() string { return w.settled(t) })
	return w, r
}

func secretName() string { return v1alpha1.SecretName(v1alpha1.KindEgressPolicy, "agent") }

func (w *world) patchSecret(t *testing.T, namespace, name, patch string) {
	t.Helper()
	if _, err := w.Client.CoreV1().Secrets(namespace).Patch(w.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestDamageHeals changes the rendered Secret by hand. It has to come back as it was.
func TestDamageHeals(t *testing.T) {
	w, _ := running(t)
	want, ca := w.rendered(t), serial(w.rotation(t).Current)
	damages := map[string]func(){
		"deleted": func() {
			if err := w.Client.CoreV1().Secrets(w.ns).Delete(w.ctx, secretName(), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"key removed":    func() { w.patchSecret(t, w.ns, secretName(), `{"data":{"lds.json":null}}`) },
		"key changed":    func() { w.patchSecret(t, w.ns, secretName(), `{"data":{"rds.json":"e30="}}`) },
		"key added":      func() { w.patchSecret(t, w.ns, secretName(), `{"data":{"foreign":"eA=="}}`) },
		"labels removed": func() { w.patchSecret(t, w.ns, secretName(), `{"metadata":{"labels":null}}`) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			damage()
			w.eventually(t, name, func() string {
				got := w.rendered(t)
				if name == "deleted" && got != nil {
					// The leaf's key went with the Secret: a new leaf, of the same CA.
					want = got
				}
				return cmp.Diff(keys(want), keys(got)) + cmp.Diff(string(want["rds.json"]), string(got["rds.json"])) + w.labelled()
			})
			if now := serial(w.rotation(t).Current); now != ca {
				t.Errorf("the CA was replaced: %s, then %s", ca, now)
			}
		})
	}
}

func (w *world) labelled() string {
	secret, err := w.Client.CoreV1().Secrets(w.ns).Get(w.ctx, secretName(), metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	if secret.Labels[v1alpha1.LabelManaged] != "true" {
		return "the label is missing"
	}
	return ""
}

func keys(data map[string][]byte) map[string]bool {
	out := map[string]bool{}
	for key := range data {
		out[key] = true
	}
	return out
}

// TestCAUnreadable: a CA that cannot be read is kept, pods keep what they have, and the status says so. Restored, all goes on.
func TestCAUnreadable(t *testing.T) {
	w, _ := running(t)
	name := v1alpha1.CASecretName(w.ns, "agent")
	good, before := w.secret(t, own, name), w.rendered(t)
	w.patchSecret(t, own, name, `{"data":{"tls.key":"ZGFtYWdlZA=="}}`)
	w.eventually(t, "damaged", func() string { return w.condition(t, v1alpha1.ConditionReady, v1alpha1.ReasonCAUnreadable) })
	if got := string(w.secret(t, own, name)["tls.key"]); got != "damaged" {
		t.Errorf("the CA was written over: %d bytes", len(got))
	}
	if diff := cmp.Diff(keys(before), keys(w.rendered(t))); diff != "" {
		t.Errorf("the rendered Secret changed:\n%s", diff)
	}
	restored := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: name}, Data: good, Type: corev1.SecretTypeTLS}
	if _, err := w.Client.CoreV1().Secrets(own).Update(w.ctx, restored, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "restored", func() string { return w.settled(t) })
	if diff := cmp.Diff(string(before["leaf.crt"]), string(w.rendered(t)["leaf.crt"])); diff != "" {
		t.Error("the leaf was replaced")
	}
}

// condition is empty if the condition has the reason.
func (w *world) condition(t *testing.T, kind, reason string) string {
	for _, c := range w.policy(t).Status.Conditions {
		if c.Type == kind && c.Reason == reason {
			if c.Message == "" {
				t.Errorf("%s has no message", reason)
			}
			return ""
		}
	}
	return "no condition " + kind + " with reason " + reason
}

// TestErrorsAreNotAbsence lets the API server fail to say whether there is a CA, while everything else works.
func TestErrorsAreNotAbsence(t *testing.T) {
	w, r := running(t)
	ca, rendered := serial(w.rotation(t).Current), w.rendered(t)
	r.setBreaks(func(request *http.Request) bool {
		return request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/namespaces/"+own+"/secrets/netproxy-ca.egp."+w.ns)
	})
	before, _ := r.count()
	w.patch(t, `{"spec":{"mitm":{"domains":["api.openai.com","other.example.com"]}}}`)
	time.Sleep(3 * time.Second)
	if now := serial(w.rotation(t).Current); now != ca {
		t.Fatalf("the CA was replaced: %s, then %s", ca, now)
	}
	if after, list := r.count(); after != before {
		t.Errorf("something was written: %s", list)
	}
	r.setBreaks(nil)
	w.eventually(t, "the API server is back", func() string {
		if string(w.rendered(t)["leaf.crt"]) == string(rendered["leaf.crt"]) {
			return "the old leaf"
		}
		return leafIssuer(t, w)
	})
	if now := serial(w.rotation(t).Current); now != ca {
		t.Errorf("the CA was replaced: %s, then %s", ca, now)
	}
}

// TestCredential: missing, empty and there again, told by the condition.
func TestCredential(t *testing.T) {
	w, _ := running(t)
	revision := func() string { return w.policy(t).Status.RenderedRevision }
	first := revision()
	if err := w.Client.CoreV1().Secrets(w.ns).Delete(w.ctx, "openai", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "missing", func() string { return w.condition(t, v1alpha1.ConditionDegraded, v1alpha1.ReasonCredentialMissing) })
	if revision() == first {
		t.Error("the revision is that of the credential which is gone")
	}
	for _, c := range []struct{ value, reason string }{{"", v1alpha1.ReasonCredentialMissing}, {"new", v1alpha1.ReasonNone}} {
		if err := w.ApplyText(w.ctx, w.ns, "apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {key: \""+c.value+"\"}\n"); err != nil {
			t.Fatal(err)
		}
		w.eventually(t, "value "+c.value, func() string { return w.condition(t, v1alpha1.ConditionDegraded, c.reason) })
	}
}
