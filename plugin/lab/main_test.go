package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Variables that turn the test binary into a helper process.
const (
	orphanEnv = "LAB_TEST_ORPHAN"
	exitEnv   = "LAB_TEST_EXIT"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(orphanEnv); target != "" {
		os.Exit(orphan(target))
	}
	os.Exit(Main(m.Run))
}

// shared builds one lab with two pods for all tests of the package.
var shared = sync.OnceValues(func() (*Lab, error) {
	return New(context.Background(), Options{Pods: 2})
})

func testLab(t *testing.T) *Lab {
	t.Helper()
	l, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const leafIssuer = "lab policy CA"

// leafPEM makes a self-signed leaf for names.
func leafPEM(t *testing.T, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: leafIssuer}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// files returns the handwritten configuration with replacements applied to the listeners.
func files(t *testing.T, l *Lab, oldnew ...string) map[string][]byte {
	t.Helper()
	cert, key := leafPEM(t, "api.lab.example", "api2.lab.example")
	out := map[string][]byte{"tls/leaf.crt": cert, "tls/leaf.key": key, "tls/upstream-ca.crt": l.World.CAPEM()}
	paths, err := filepath.Glob("testdata/envoy/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configuration: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = []byte(strings.NewReplacer(oldnew...).Replace(string(data)))
	}
	return out
}

// startEnvoy starts the handwritten configuration in pod 0.
func startEnvoy(t *testing.T, oldnew ...string) (*Lab, *Envoy) {
	t.Helper()
	if os.Getenv("ENVOY") == "" {
		t.Skip("ENVOY is not set")
	}
	l := testLab(t)
	for _, name := range []string{"api.lab.example", "api2.lab.example", "pass.lab.example", "plain.lab.example", "denied.lab.example"} {
		l.World.Add(name)
	}
	e, err := l.Pods[0].StartEnvoy(t.Context(), EnvoyOptions{
		Files: files(t, l, oldnew...), Args: []string{"--file-flush-interval-msec", "50", "--drain-time-s", "1", "--log-level", "warning"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, e
}

// orphan is a proxy that closes its socket while the kernel still has data to
// send, as Envoy does.
func orphan(target string) int {
	c, err := net.Dial("tcp", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	body := strings.Repeat("x", orphanSize)
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", orphanSize, body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = c.Close()
	return 0
}

const orphanSize = 2 << 20
