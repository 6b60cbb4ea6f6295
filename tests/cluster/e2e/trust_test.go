package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

const trustPolicy = `
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: clients}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [curl, python, node, java, git, scratch, privateca]}]}
  egress:
    defaultAction: Deny
    rules:
    - {name: api, action: Allow, hosts: [api.trust.example.net], ports: [{port: 443}]}
    - {name: passed, action: Allow, hosts: [passed.trust.example.net], ports: [{port: 443}]}
    - {name: internal, action: Allow, hosts: ["internal.%s.svc.cluster.local"], ports: [{port: 443}]}
  mitm:
    domains: [api.trust.example.net]
    headerMutations:
    - {domain: api.trust.example.net, headers: [{name: X-Request-Source, value: injected}]}
`

// TestTrust shows that clients from Debian's packages trust the interception without anything done about CAs, each under
// its usual means, and that names which are passed through show their own certificate.
func TestTrust(t *testing.T) {
	e := newProtected(t, 8*time.Minute, append(clientImages(), "tool", "scratch")...)
	for _, name := range []string{"api.trust.example.net", "passed.trust.example.net"} {
		e.name(t, name)
	}
	e.protect(t, fmt.Sprintf(trustPolicy, e.ns))
	issuer := e.issuer(t, "clients")
	for _, image := range clientImages() {
		e.apply(t, clientPod(image))
	}
	e.apply(t, pod("scratch", "scratch", "args", []string{"sleep"}))
	commands := map[string][]string{
		"curl":    {"curl", "-sSv", "-o", "/dev/null"},
		"python":  {"python3", "/client/client.py"},
		"node":    {"node", "/client/client.js"},
		"java":    {javaHome + "/bin/java", "/client/Client.java"},
		"git":     {"env", "GIT_CURL_VERBOSE=1", "git", "ls-remote"},
		"scratch": {"/tool", "get"}, // Go, on an image that has nothing else
	}
	for client, command := range commands {
		t.Run(client, func(t *testing.T) {
			e.ready(t, client)
			mark := e.mark(t)
			out := e.run(t, client, append(command, "https://api.trust.example.net/"+client)...)
			if text := out.Stdout + out.Stderr; !strings.Contains(text, issuer) {
				t.Errorf("the issuer %q is not in: %s", issuer, out)
			} else {
				t.Logf("%s saw the issuer %q", client, issuer)
			}
			if len(e.since(t, mark, injected("/"+client))) == 0 {
				t.Errorf("the request did not arrive, or without the injected header: %s", out)
			}
			out = e.run(t, client, append(command, "https://passed.trust.example.net/"+client)...)
			if text := out.Stdout + out.Stderr; !strings.Contains(text, lab.AuthorityName) {
				t.Errorf("the issuer %q is not in: %s", lab.AuthorityName, out)
			}
		})
	}
	t.Run("private CA of an image", func(t *testing.T) { tryPrivateCA(t, e) })
}

func injected(path string) func(control.Entry) bool {
	return func(en control.Entry) bool {
		return en.Kind == lab.HTTP && strings.HasPrefix(en.Path, path) && en.Header.Get("X-Request-Source") == "injected"
	}
}

// issuer is who signed the leaf of a policy.
func (e *env) issuer(t *testing.T, policy string) string {
	t.Helper()
	secret, err := e.Client.CoreV1().Secrets(e.ns).Get(e.ctx, "netproxy-egp-"+policy, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := mitm.ParseCertificates(secret.Data["leaf.crt"])
	if err != nil {
		t.Fatal(err)
	}
	return certs[0].Issuer.CommonName
}

// tryPrivateCA asks a server whose certificate an organisation's own CA signed: a client whose image has that CA accepts it,
// another one does not.
func tryPrivateCA(t *testing.T, e *env) {
	host := "internal." + e.ns + ".svc.cluster.local"
	cert, key := corporateLeaf(t, e, host)
	e.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: internal}
stringData: {tls.crt: %q, tls.key: %q}
---
apiVersion: v1
kind: Service
metadata: {name: internal}
spec: {selector: {app: internal}, ports: [{port: 443, targetPort: 8443}], ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]}
---
apiVersion: v1
kind: Pod
metadata: {name: internal, labels: {app: internal}}
spec:
  containers:
  - {name: app, image: "netproxy.test/tool:1", imagePullPolicy: Never, args: [https, ":8443", corporate, /tls/tls.crt, /tls/tls.key], volumeMounts: [{name: tls, mountPath: /tls}]}
  volumes: [{name: tls, secret: {secretName: internal}}]
`, cert, key))
	e.ready(t, "internal")
	e.ready(t, "privateca")
	for _, client := range []string{"privateca", "curl"} {
		e.eventually(t, 20*time.Second, func() string {
			out := e.run(t, client, "curl", "-sS", "https://"+host+"/")
			want := map[string]string{"privateca": "text=corporate", "curl": "unable to get local issuer certificate"}[client]
			if strings.Contains(out.Stdout+out.Stderr, want) {
				return ""
			}
			return fmt.Sprintf("%s: want %q, got %s", client, want, out)
		})
	}
	out := e.run(t, "privateca", "curl", "-sSv", "-o", "/dev/null", "https://api.trust.example.net/privateca")
	if !strings.Contains(out.Stderr, e.issuer(t, "clients")) {
		t.Errorf("the image with a CA of its own does not trust the interception: %s", out)
	}
}

// corporateLeaf is signed by the CA that is in the image privateca.
func corporateLeaf(t *testing.T, e *env, host string) (cert, key []byte) {
	t.Helper()
	dir := filepath.Join(e.State, "privateca")
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ca, err := mitm.Parse(read("ca.crt"), read("ca.key"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := mitm.Issue(ca, []string{host}, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err = leaf.Key().RevealPEM()
	if err != nil {
		t.Fatal(err)
	}
	return leaf.CertificatePEM(), key
}

// TestCAChanges: a ConfigMap with a CA that changes is noticed like a Secret.
func TestCAChanges(t *testing.T) {
	e := newProtected(t, 2*time.Minute)
	policy := e.protect(t, rangePolicy)
	e.apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: world-ca}\ndata: {ca.crt: \"\"}\n")
	e.degraded(t, policy, v1alpha1.ReasonCAMissing)
}
