package podinit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/mitm"
)

var now = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func file(data ...[]byte) *fstest.MapFile { return &fstest.MapFile{Data: bytes.Join(data, nil)} }

// newCert makes a self-signed CA, or a server's certificate, under a name to find again.
func newCert(t testing.TB, name string, isCA bool) []byte { //revive:disable-line:flag-parameter
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func jksOf(t testing.TB, certs ...[]byte) []byte {
	t.Helper()
	bundle, err := mitm.ParseAdditional(bytes.Join(certs, nil))
	if err != nil {
		t.Fatal(err)
	}
	out, err := bundle.JKS()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// image returns the names of what was found in the image, in order, and the log.
func image(t *testing.T, root fs.FS, env map[string]string) ([]string, string) {
	t.Helper()
	var log strings.Builder
	h := host{root: root, dir: "/app", getenv: func(name string) string { return env[name] }, now: now, log: &log}
	names := []string{}
	for _, a := range collectImage(h) {
		cert, err := x509.ParseCertificate(a.DER)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, cert.Subject.CommonName)
	}
	return names, log.String()
}

func TestCollectImage(t *testing.T) {
	corp, other := newCert(t, "corp", true), newCert(t, "other", true)
	server := newCert(t, "server", false)
	roots := mitm.Roots(now).PEM()
	cases := map[string]struct {
		root fstest.MapFS
		env  map[string]string
		want []string
		log  string
	}{
		"scratch":           {fstest.MapFS{"app": file([]byte("\x7fELF"))}, nil, nil, ""},
		"Debian":            {fstest.MapFS{"etc/ssl/certs/ca-certificates.crt": file(roots, corp), "etc/ssl/certs/corp.pem": file(corp), "etc/ssl/certs/1a2b3c4d.0": file(corp)}, nil, []string{"corp"}, ""},
		"snakeoil":          {fstest.MapFS{"etc/ssl/certs/ssl-cert-snakeoil.pem": file(server)}, nil, nil, ""},
		"not yet updated":   {fstest.MapFS{"usr/local/share/ca-certificates/team/corp.crt": file(corp)}, nil, []string{"corp"}, ""},
		"RHEL":              {fstest.MapFS{"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": file(roots, corp)}, nil, []string{"corp"}, ""},
		"certifi":           {fstest.MapFS{"usr/local/lib/python3.13/site-packages/certifi/cacert.pem": file(roots, corp)}, nil, []string{"corp"}, ""},
		"SSL_CERT_FILE":     {fstest.MapFS{"opt/x.pem": file(server, corp)}, map[string]string{"SSL_CERT_FILE": "/opt/x.pem"}, []string{"server", "corp"}, ""},
		"also a usual one":  {fstest.MapFS{"etc/ssl/cert.pem": file(server)}, map[string]string{"SSL_CERT_FILE": "/etc/ssl/cert.pem"}, []string{"server"}, ""},
		"relative":          {fstest.MapFS{"app/certs/x.pem": file(corp)}, map[string]string{"NODE_EXTRA_CA_CERTS": "certs/x.pem"}, []string{"corp"}, ""},
		"a pattern's signs": {fstest.MapFS{"opt/[a]*.pem": file(corp), "opt/ab.pem": file(other)}, map[string]string{"PIP_CERT": "/opt/[a]*.pem"}, []string{"corp"}, ""},
		"outside":           {fstest.MapFS{"x.pem": file(corp)}, map[string]string{"CURL_CA_BUNDLE": "../../x.pem"}, []string{"corp"}, ""},
		"SSL_CERT_DIR":      {fstest.MapFS{"a/x": file(corp), "b/y": file(other)}, map[string]string{"SSL_CERT_DIR": "/a:/b:/c::"}, []string{"corp", "other"}, ""},
		"directory as file": {fstest.MapFS{"a/x": file(corp)}, map[string]string{"REQUESTS_CA_BUNDLE": "/a"}, []string{"corp"}, ""},
		"the root":          {fstest.MapFS{"x": file(corp)}, map[string]string{"SSL_CERT_DIR": "/", "SSL_CERT_FILE": "/"}, nil, ""},
		"JAVA_HOME":         {fstest.MapFS{"jdk/lib/security/cacerts": file(jksOf(t, corp)), "jdk/lib/security/jssecacerts": file(jksOf(t, other))}, map[string]string{"JAVA_HOME": "/jdk"}, []string{"corp", "other"}, ""},
		"Debian's Java":     {fstest.MapFS{"etc/ssl/certs/java/cacerts": file(jksOf(t, corp))}, nil, []string{"corp"}, ""},
		"jvm":               {fstest.MapFS{"usr/lib/jvm/java-21/lib/security/cacerts": file(jksOf(t, corp))}, nil, []string{"corp"}, ""},
		"trustStore":        {fstest.MapFS{"ts.jks": file(jksOf(t, server))}, map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx1g -Djavax.net.ssl.trustStore=/ts.jks -Djavax.net.ssl.trustStorePassword=x"}, []string{"server"}, ""},
		"broken and sound":  {fstest.MapFS{"etc/ssl/cert.pem": file([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), corp)}, nil, []string{"corp"}, "left out: /etc/ssl/cert.pem: 1 blocks are no readable certificate"},
		"broken Java":       {fstest.MapFS{"etc/ssl/certs/java/cacerts": file([]byte("nonsense"))}, nil, nil, "left out: /etc/ssl/certs/java/cacerts: read Java trust store: pkcs12"},
		"too large":         {fstest.MapFS{"etc/ssl/cert.pem": file(bytes.Repeat([]byte("x"), maxFileBytes+1))}, nil, nil, "is larger than 4 MiB"},
		"a pipe":            {fstest.MapFS{"etc/ssl/cert.pem": {Mode: fs.ModeNamedPipe}}, nil, nil, "is not a regular file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, log := image(t, c.root, c.env)
			if diff := cmp.Diff(append([]string{}, c.want...), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(log, c.log) || (c.log == "") != (log == "") {
				t.Errorf("log %q, want %q", log, c.log)
			}
		})
	}
}

func TestCollectImageIsBounded(t *testing.T) {
	root := fstest.MapFS{}
	corp := newCert(t, "corp", true)
	for i := range maxFiles + 10 {
		root[fmt.Sprintf("etc/ssl/certs/%05d", i)] = file([]byte("-----BEGIN X-----"))
	}
	root["etc/ssl/certs/zzz"] = file(corp)
	root["a/b/c/d/e"] = file(corp)
	got, log := image(t, root, map[string]string{"SSL_CERT_DIR": "/a"})
	if len(got) != 0 {
		t.Errorf("found %v", got)
	}
	if n := strings.Count(log, "\n"); n != maxNotes+1 {
		t.Errorf("%d lines of log", n)
	}
}

func TestWithin(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	_, err := within(time.Millisecond, func() ([][]byte, error) { <-stop; return nil, nil })
	if err == nil || !strings.Contains(err.Error(), "longer than 1ms") {
		t.Errorf("error %v", err)
	}
}

func TestTrust(t *testing.T) {
	corp, policy := newCert(t, "corp", true), newCert(t, "policy", true)
	root := fstest.MapFS{"cas/ca-bundle.crt": file(policy), "etc/ssl/cert.pem": file(mitm.Roots(now).PEM(), corp)}
	h := host{root: root, getenv: func(string) string { return "" }, now: now, log: &strings.Builder{}}
	out := t.TempDir()
	var first map[string]string
	for range 2 { // again over its own files
		if err := run(h, []string{"trust", "--policy-cas=/cas/ca-bundle.crt", "--out=" + out}); err != nil {
			t.Fatal(err)
		}
		got := contents(t, out)
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(first, got); diff != "" {
			t.Error("the second run writes other bytes")
		}
	}
	if len(first) != 2 || first["cacerts.jks"] == "" {
		t.Fatalf("%d files", len(first))
	}
	want := string(mitm.Roots(now).PEM()) + string(policy) + string(corp)
	if first["ca-certificates.crt"] != want {
		t.Error("the bundle is not the public roots, the policy's CA, the image's CA")
	}
	root["cas/ca-bundle.crt"] = file()
	if err := run(h, []string{"trust", "--policy-cas=/cas/ca-bundle.crt", "--out=" + out}); err != nil {
		t.Errorf("additional CAs that are missing: %v", err)
	}
	for _, broken := range []string{"text", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		root["cas/ca-bundle.crt"] = file([]byte(broken))
		if err := run(h, []string{"trust", "--policy-cas=/cas/ca-bundle.crt", "--out=" + out}); err == nil {
			t.Errorf("%q as the policy's CAs", broken)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(data)
	}
	return found
}

func TestShares(t *testing.T) {
	dir := t.TempDir()
	h := host{now: now, root: fstest.MapFS{"etc/resolv.conf": file([]byte("nameserver 10.0.0.1\n"))}}
	o := captureOptions{share: dir, trustRoot: dir, slots: 2, dns: dir}
	for range 2 {
		if err := writeShares(h, o); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]os.FileMode{"netproxy-init": 0o555, "resolv.conf": 0o444, "hosts": 0o444, "roots": 0o755 | fs.ModeDir, "roots/ca-certificates.crt": 0o444, "0": 0o777 | fs.ModeDir, "1": 0o777 | fs.ModeDir}
	got := map[string]os.FileMode{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if path == dir || err != nil {
			return err
		}
		info, err := entry.Info()
		got[strings.TrimPrefix(path, dir+"/")] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if resolv, err := os.ReadFile(filepath.Join(dir, "resolv.conf")); err != nil || string(resolv) != "nameserver 10.0.0.1\n" {
		t.Errorf("resolv.conf is %q, %v", resolv, err)
	}
	roots, err := os.ReadFile(filepath.Join(dir, "roots/ca-certificates.crt"))
	if err != nil || !bytes.Equal(roots, mitm.Roots(now).PEM()) {
		t.Errorf("the proxy's roots are not Mozilla's: %v", err)
	}
	if err := writeShares(h, captureOptions{share: filepath.Join(dir, "absent")}); err == nil {
		t.Error("a missing volume is no error")
	}
}

// FuzzImageFiles: nothing that an image holds ends the program or gets a private key into the bundle.
func FuzzImageFiles(f *testing.F) {
	corp := newCert(f, "corp", true)
	f.Add(corp, jksOf(f, corp), "/etc/ssl/cert.pem")
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), []byte("\xfe\xed\xfe\xed"), "../[*?\\")
	f.Fuzz(func(t *testing.T, bundle, java []byte, variable string) {
		root := fstest.MapFS{"etc/ssl/cert.pem": file(bundle), "etc/ssl/certs/java/cacerts": file(java)}
		h := host{root: root, dir: "/", getenv: func(string) string { return variable }, now: now, log: &strings.Builder{}}
		if out := collectImage(h).PEM(); bytes.Contains(out, []byte("PRIVATE")) {
			t.Errorf("%q", out)
		}
	})
}

func BenchmarkTrust(b *testing.B) {
	root := fstest.MapFS{"ca": file(newCert(b, "policy", true)), "etc/ssl/cert.pem": file(mitm.Roots(now).PEM()), "etc/ssl/certs/java/cacerts": file(jksOf(b, mitm.Roots(now).PEM()))}
	h := host{root: root, getenv: func(string) string { return "" }, now: now, log: &strings.Builder{}}
	out := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		if err := runTrust(h, trustOptions{"/ca", out}); err != nil {
			b.Fatal(err)
		}
	}
}
