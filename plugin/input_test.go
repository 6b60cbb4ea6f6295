package plugin

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
)

const trustPolicy = `apiVersion: netproxy.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: trust}
spec:
  egress:
    defaultAction: Deny
    rules: [{action: Allow, hosts: [api.example.com], ports: [{port: 443}]}]
  mitm:
    domains: [api.example.com]
    caSecretRef: {name: my-ca}
    headerMutations:
    - {domain: api.example.com, headers: [{name: X-Token, secretRef: {name: token, key: value}}]}
  trust:
    additionalCAs:
    - configMapRef: {name: corp-ca, key: ca.crt}
`

// indented is PEM as a block of YAML.
func indented(pem string) string {
	return "|\n    " + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n    ")
}

// newCA makes a CA and gives its certificate and key.
func newCA(t *testing.T, name string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	write(t, policy, strings.ReplaceAll(trustPolicy, "name: trust", "name: "+name))
	if r := execute(t, "", "render", "-f", policy, "--out", filepath.Join(dir, "out"), "--ca", dir); r.code != ExitGood {
		t.Fatal(r.err)
	}
	return read(t, filepath.Join(dir, "ca.crt")), read(t, filepath.Join(dir, "ca.key"))
}

// TestObjects: a directory of files, a CA of the user's, an additional CA, and Secrets of several namespaces.
func TestObjects(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) { write(t, filepath.Join(dir, name), text) }
	cert, key := newCA(t, "mine")
	// Not newCA: with the same randomness it would have the same key.
	other, err := mitm.Generate(rand.Reader, time.Now(), "corp")
	if err != nil {
		t.Fatal(err)
	}
	corp := string(other.CertificatePEM())
	file("policy.yaml", trustPolicy)
	file("ca.yml", "apiVersion: v1\nkind: Secret\nmetadata: {name: my-ca, namespace: netproxy}\nstringData:\n  tls.crt: "+indented(cert)+"\n  tls.key: "+indented(key)+"\n")
	file("corp.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: corp-ca, namespace: a}\ndata:\n  ca.crt: "+indented(corp)+"\n")
	for _, namespace := range []string{"a", "b"} {
		file("token-"+namespace+".yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: "+namespace+"}\nstringData: {value: token-of-"+namespace+"}\n")
	}
	file("notes.txt", "not read: {")
	if r := execute(t, "", "render", "-f", dir); r.code != ExitFailed || !strings.Contains(r.err, "several Secrets token") || !strings.Contains(r.err, "-n") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if r := execute(t, "", "render", "-f", dir, "-n", "a", "--out", out); r.code != ExitGood || strings.Contains(r.err, "is not in") {
		t.Fatalf("%d: %s", r.code, r.err)
	}
	if got := read(t, filepath.Join(out, "ca.crt")); strings.TrimSpace(got) != strings.TrimSpace(cert) {
		t.Error("the CA is not the user's")
	}
	block := func(pem string) string { return strings.Split(pem, "\n")[1] }
	if upstream := read(t, filepath.Join(out, "tls", "upstream-ca.crt")); !strings.Contains(upstream, block(corp)) || strings.Contains(upstream, block(cert)) {
		t.Error("the upstream's trust has to have the additional CA and not the policy's")
	}
	if bundle := read(t, filepath.Join(out, v1alpha1.BundleKey)); !strings.Contains(bundle, corp[100:160]) || !strings.Contains(bundle, cert[100:160]) {
		t.Error("the workload's trust has to have both CAs")
	}
	found, err := filepath.Glob(filepath.Join(out, "sds-????????????????.json"))
	if err != nil || len(found) != 1 || !strings.Contains(read(t, found[0]), "token-of-a") {
		t.Errorf("credentials of namespace a: %v, %v", found, err)
	}
}

// TestStandardInput and files together.
func TestStandardInput(t *testing.T) {
	policy := read(t, filepath.Join("testdata", "explain", "cidr-only.yaml"))
	if r := execute(t, policy, "explain", "-f", "-", "tcp://10.0.0.1:5432"); r.code != ExitGood || !strings.Contains(r.out, "ALLOWED") {
		t.Errorf("%d: %s%s", r.code, r.out, r.err)
	}
	empty := t.TempDir()
	if r := execute(t, "", "explain", "-f", empty); r.code != ExitFailed || !strings.Contains(r.err, "no .yaml") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	if r := execute(t, "", "explain", "-f", "-"); r.code != ExitFailed || !strings.Contains(r.err, "no EgressPolicy") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	if err := os.WriteFile(filepath.Join(empty, "a.yaml"), []byte(policy+"---\n"+policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, "", "explain", "-f", empty); r.code != ExitFailed || !strings.Contains(r.err, "given twice") {
		t.Errorf("%d: %s", r.code, r.err)
	}
}

// FuzzQuestion: what is understood has a port, and can be evaluated.
func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{
		"https://api.openai.com/v1/", "http://[2001:db8::7]:8080/a?b#c", "tls://a.example", "tcp://192.0.2.1:22", "https://a@b/", "https://", "x://y", "https://[::1", "https://a:0/", "https://ü.example/%zz",
	} {
		f.Add("GET", seed)
	}
	s := newShell(discard(), "", nil)
	c, err := (&policyOptions{Filenames: []string{filepath.Join("testdata", "explain", "design.yaml")}}).load(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, url string) {
		q, err := parseQuestion([]string{method, url})
		if err != nil {
			return
		}
		if q.Dst.Port() == 0 || q.HTTP && (q.Host == "" || !strings.HasPrefix(q.Path, "/")) {
			t.Errorf("%s %s: %+v", method, url, q.Request)
		}
		if v := c.plan.Evaluate(q.Request); v.Verdict != "Allow" && v.Verdict != "Deny" || v.FieldPath == "" {
			t.Errorf("%s %s: %+v", method, url, v)
		}
	})
}
