package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/tests/cluster"
)

const userCAPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress: {defaultAction: Deny, rules: [{name: api, action: Allow, hosts: [api.userca.example]}]}
  mitm: {domains: [api.userca.example], caSecretRef: {name: %s}}
  trust: {additionalCAs: [{configMapRef: {name: world-ca, key: ca.crt}}]}
`

// TestUserCA: a CA of the user's that is missing, may not be used or cannot be read is named by the status with what to do. With a good one the
// pod sees it.
func TestUserCA(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "tool")
	e.name(t, "api.userca.example")
	name := "ca-" + e.ns
	t.Cleanup(func() {
		_ = e.Client.CoreV1().Secrets(cluster.System).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	e.apply(t, fmt.Sprintf(userCAPolicy, name))
	cert, key := newUserCA(t, "user-"+e.ns)
	for _, step := range []struct {
		name, allowed string
		cert          []byte
		reason        string
	}{
		{"missing", "", nil, v1alpha1.ReasonCAMissing},
		{"not allowed", "elsewhere", cert, v1alpha1.ReasonCANotAllowed},
		{"unreadable", "elsewhere, " + e.ns, []byte("damaged"), v1alpha1.ReasonCAUnreadable},
	} {
		if step.cert != nil {
			e.putCA(t, name, step.allowed, step.cert, key)
		}
		e.eventually(t, arrives, func() string {
			return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionReady, step.reason, name)
		})
		if s := e.secret("EgressPolicy", "agent"); s != "gone" {
			t.Errorf("%s: there is a rendered Secret: %s", step.name, s)
		}
	}
	// A pod that comes too early waits for its configuration.
	e.apply(t, toolPod("agent", "sleep"))
	e.putCA(t, name, e.ns, cert, key)
	e.ready(t, "agent")
	e.settled(t)
	out := e.run(t, "agent", "/tool", "get", "https://api.userca.example/")
	if !strings.HasPrefix(out.Stdout, "ok status: 200") || !strings.Contains(out.Stdout, "user-"+e.ns) {
		t.Error(out)
	}
	t.Run("damaged while in use", func(t *testing.T) {
		e.putCA(t, name, e.ns, []byte("damaged"), key)
		e.eventually(t, arrives, func() string {
			return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionReady, v1alpha1.ReasonCAUnreadable, name)
		})
		if out := e.run(t, "agent", "/tool", "get", "https://api.userca.example/"); !strings.HasPrefix(out.Stdout, "ok status: 200") {
			t.Errorf("the last good configuration is not kept: %s", out)
		}
		e.putCA(t, name, e.ns, cert, key)
		e.settled(t)
	})
}

// TestUserCAPerNamespace: of two namespaces of a policy one may use the CA. The other one's pods get no configuration, and the status says where.
func TestUserCAPerNamespace(t *testing.T) {
	w := newTeam(t)
	other := newProtected(t, 5*time.Minute, "tool")
	name := "ca-" + w.name
	t.Cleanup(func() {
		_ = w.Client.CoreV1().Secrets(cluster.System).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	cert, key := newUserCA(t, "user-"+w.name)
	w.putCA(t, name, w.ns, cert, key)
	for _, e := range []*env{w.env, other} {
		w.join(t, e)
	}
	w.apply(t, strings.Replace(fmt.Sprintf(widePolicy, w.name), "  mitm:", "  mitm:\n    caSecretRef: {name: "+name+"}", 1))
	w.eventually(t, arrives, func() string {
		return w.says(t, wideKind, w.name, v1alpha1.ConditionReady, v1alpha1.ReasonCANotAllowed, "namespace "+other.ns)
	})
	w.apply(t, toolPod("agent", "sleep"))
	w.env.ready(t, "agent")
	w.gets(t, "agent", "Bearer sk-"+w.ns)
	if s := other.secret(wideKind, w.name); s != "gone" {
		t.Errorf("the Secret of the other namespace is %s", s)
	}
	w.putCA(t, name, w.ns+", "+other.ns, cert, key)
	w.ready(t)
	w.deletePod(t, "agent")
}

func newUserCA(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	state, err := mitm.NewRotation(rand.Reader, time.Now(), name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := state.RevealData()
	if err != nil {
		t.Fatal(err)
	}
	return data[v1alpha1.CACertKey], data[v1alpha1.CAKeyKey]
}

// putCA writes the CA as its owner does.
func (e *env) putCA(t *testing.T, name, allowed string, cert, key []byte) {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.AnnotationAllowedNamespaces: allowed}},
		Type:       corev1.SecretTypeTLS, Data: map[string][]byte{v1alpha1.CACertKey: cert, v1alpha1.CAKeyKey: key},
	}
	secrets := e.Client.CoreV1().Secrets(cluster.System)
	_, err := secrets.Update(e.ctx, secret, metav1.UpdateOptions{})
	if err != nil {
		_, err = secrets.Create(e.ctx, secret, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
