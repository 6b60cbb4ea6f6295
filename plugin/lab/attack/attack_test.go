package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

var shared = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.New(context.Background(), lab.Options{})
})

// target describes the handwritten configuration in ../testdata/envoy.
func target() Target {
	api := Endpoint{
		Name: "api.lab.example", Port: 443, Method: "GET", Path: "/v1/x", DeniedPath: "/v2/secret",
		Injected: []Header{{"X-Injected", "canary-secret-value"}},
	}
	api2 := Endpoint{Name: "api2.lab.example", Port: 443, Method: "GET", Path: "/v1/x"}
	return Target{
		Intercepted:      []Endpoint{api, api2},
		Passthrough:      []Endpoint{{Name: "pass.lab.example", Port: 443, Method: "GET", Path: "/"}},
		Plaintext:        []Endpoint{{Name: "plain.lab.example", Port: 80, Method: "GET", Path: "/"}},
		CIDR:             []netip.AddrPort{netip.MustParseAddrPort("192.0.2.200:5432")},
		Denied:           "denied.lab.example",
		InspectorTimeout: time.Second,
	}
}

func configuration(t *testing.T, l *lab.Lab, oldnew ...string) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "policy"}, DNSNames: []string{"api.lab.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{
		"tls/leaf.crt":        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls/leaf.key":        pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}),
		"tls/upstream-ca.crt": l.World.CAPEM(),
	}
	for _, name := range []string{"bootstrap.yaml", "lds.yaml", "cds.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "envoy", name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = []byte(strings.NewReplacer(oldnew...).Replace(string(data)))
	}
	return out
}

// attack runs scenarios against the handwritten configuration, changed.
func attack(t *testing.T, only []string, oldnew ...string) map[string]Outcome {
	t.Helper()
	if os.Getenv("ENVOY") == "" {
		t.Skip("ENVOY is not set")
	}
	l, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	files := configuration(t, l, oldnew...)
	if _, err := l.Pods[0].StartEnvoy(t.Context(), lab.EnvoyOptions{Files: files, Args: []string{"--log-level", "off"}}); err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	progress := func(o Outcome) {
		t.Logf("%4d ms %-26s %-8s sni=%q host=%q expected=%q got=%q %s", time.Since(last).Milliseconds(), o.ID, o.Result, o.SNI, o.Host, o.Expected, o.Got, o.Detail)
		last = time.Now()
	}
	rows, err := Run(t.Context(), Options{Lab: l, Pod: l.Pods[0], Target: target(), Only: only, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Outcome{}
	for _, r := range rows {
		out[r.ID] = r
	}
	return out
}

func TestScenarios(t *testing.T) {
	for id, row := range attack(t, nil) {
		if row.Result == Leak || row.Result == Fail {
			t.Errorf("%s: %s: %s", id, row.Result, row.Detail)
		}
	}
}

func TestScenarioIDsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.ID] || s.Title == "" || s.Category == "" {
			t.Errorf("scenario %q is not unique or has no title or category", s.ID)
		}
		seen[s.ID] = true
	}
}
