package mitm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
)

func trustStore(t testing.TB) (Bundle, []byte) {
	t.Helper()
	b := WorkloadBundle(Roots(now), Rotation{Current: newCA(t, 1)}.Trusted(), nil)
	data, err := b.JKS()
	if err != nil {
		t.Fatal(err)
	}
	return b, data
}

func TestJKSIsRepeatable(t *testing.T) {
	b, first := trustStore(t)
	for range 5 {
		if _, again := trustStore(t); !bytes.Equal(first, again) {
			t.Fatal("two runs differ")
		}
	}
	slices.Reverse(b)
	reversed, err := b.JKS()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, reversed) {
		t.Error("the order of the bundle changes the trust store")
	}
}

func TestJKSHoldsTheBundle(t *testing.T) {
	b, data := trustStore(t)
	store := keystore.New()
	if err := store.Load(bytes.NewReader(data), []byte(JKSPassword)); err != nil {
		t.Fatal(err)
	}
	if n := len(store.Aliases()); n != len(b) {
		t.Errorf("%d aliases for %d anchors", n, len(b))
	}
	for _, a := range b {
		entry, err := store.GetTrustedCertificateEntry(a.alias())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(entry.Certificate.Content, a.DER) {
			t.Errorf("%s holds another certificate", a.alias())
		}
	}
}

// tool finds a program that the machine may lack. The skip is shown by go test -v.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT TESTED: %s is not installed", name)
	}
	return path
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestJKSWithKeytool(t *testing.T) {
	keytool := tool(t, "keytool")
	b, data := trustStore(t)
	path := write(t, "truststore.jks", data)
	entries := regexp.MustCompile(`(?m)trustedCertEntry`)
	for name, args := range map[string][]string{"with the password": {"-storepass", JKSPassword}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(keytool, append([]string{"-J-Duser.language=en", "-list", "-keystore", path}, args...)...)
			cmd.Stdin = strings.NewReader("\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("keytool: %v\n%s", err, out)
			}
			if n := len(entries.FindAll(out, -1)); n != len(b) {
				t.Errorf("keytool lists %d of %d certificates\n%.2000s", n, len(b), out)
			}
		})
	}
	out, err := exec.Command(keytool, "-list", "-keystore", path, "-storepass", "wrong-password").CombinedOutput()
	if err == nil {
		t.Errorf("keytool takes a wrong password:\n%.500s", out)
	}
}
