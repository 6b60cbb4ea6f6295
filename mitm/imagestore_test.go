package mitm

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

func block(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

func notCA(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }

func TestImageStorePEM(t *testing.T) {
	x, y := userCA(t, "x", ecKey(t), nil, nil), userCA(t, "y", ecKey(t), nil, nil)
	server := userCA(t, "server", ecKey(t), nil, notCA)
	cases := map[string]struct {
		data    []byte
		accept  Accept
		want    int
		skipped int
	}{
		"nothing":              {nil, Anything, 0, 0},
		"text":                 {[]byte("see README"), Anything, 0, 0},
		"two with text":        {slices.Concat([]byte("# corp\r\n"), pemOf(x, y)), Authorities, 2, 0},
		"twice":                {pemOf(x, x), Authorities, 1, 0},
		"DER":                  {x.cert.Raw, Authorities, 1, 0},
		"old block type":       {block(blockX509, x.cert.Raw), Authorities, 1, 0},
		"Mozilla's own":        {append(Roots(now).PEM(), pemOf(x)...), Authorities, 1, 0},
		"server not wanted":    {pemOf(server, x), Authorities, 1, 0},
		"server wanted":        {pemOf(server, x), Anything, 2, 0},
		"private key":          {append(reveal(t, x.key), pemOf(x)...), Anything, 1, 1},
		"OpenSSL's own format": {append(block(blockTrusted, x.cert.Raw), pemOf(y)...), Anything, 1, 1},
		"garbage between":      {slices.Concat(pemOf(x), block(blockCertificate, []byte("garbage")), pemOf(y)), Anything, 2, 1},
		"cut off":              {append(pemOf(x), pemOf(y)[:100]...), Anything, 1, 1},
		"without line ends":    {slices.Concat(bytes.TrimSpace(pemOf(x)), pemOf(y)), Anything, 0, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := NewImageStore()
			s.AddPEM(c.data, c.accept)
			if len(s.Anchors()) != c.want || s.Skipped() != c.skipped {
				t.Errorf("%d anchors and %d skipped, want %d and %d", len(s.Anchors()), s.Skipped(), c.want, c.skipped)
			}
			if bytes.Contains(s.Anchors().PEM(), []byte("PRIVATE")) {
				t.Error("a private key became an anchor")
			}
		})
	}
}

func TestImageStoreIsBounded(t *testing.T) {
	s := NewImageStore()
	x := userCA(t, "x", ecKey(t), nil, nil)
	for range maxImageAnchors {
		s.anchors = append(s.anchors, Anchor{SourceImage, nil})
	}
	s.AddPEM(pemOf(x), Anything)
	if len(s.Anchors()) != maxImageAnchors || s.Skipped() != 1 {
		t.Errorf("%d anchors, %d skipped", len(s.Anchors()), s.Skipped())
	}
}

func TestWithImage(t *testing.T) {
	x, y := userCA(t, "x", ecKey(t), nil, nil), userCA(t, "y", ecKey(t), nil, nil)
	own := Rotation{Current: newCA(t, 1)}
	base := WorkloadBundle(Roots(now), own.Trusted(), nil)
	var results []Bundle
	for _, data := range [][]byte{pemOf(x, y), append(pemOf(y), pemOf(x)...)} {
		s := NewImageStore()
		s.AddPEM(data, Authorities)
		s.AddPEM(own.Current.CertificatePEM(), Authorities)
		results = append(results, base.WithImage(s.Anchors()))
	}
	if got := sources(results[0]); got[SourceImage] != 2 || got[SourcePolicy] != 1 {
		t.Errorf("sources %v: the policy's CA in the image must not count twice", got)
	}
	if !bytes.Equal(results[0].PEM(), results[1].PEM()) {
		t.Error("the order in the image changes the bundle")
	}
	if last := results[0][len(results[0])-1]; last.Source != SourceImage {
		t.Errorf("the last anchor is from %s", last.Source)
	}
}

// javaStores has the same two CAs in every format that Java's cacerts has had.
func javaStores(t testing.TB, x, y *user) map[string][]byte {
	t.Helper()
	jks, err := anchors(SourceImage, []*x509.Certificate{x.cert, y.cert}).JKS()
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string][]byte{"JKS": jks, "JKS with a key": jksWithKey(t, x, y)}
	for name, p12 := range map[string]struct {
		encoder  *pkcs12.Encoder
		password string
	}{
		"PKCS12": {pkcs12.Modern2026, JKSPassword}, "PKCS12 of Java 8": {pkcs12.LegacyDES, JKSPassword}, "PKCS12 without password": {pkcs12.Passwordless, ""},
	} {
		if stores[name], err = p12.encoder.EncodeTrustStore([]*x509.Certificate{x.cert, y.cert}, p12.password); err != nil {
			t.Fatal(err)
		}
	}
	return stores
}

func jksWithKey(t testing.TB, x, y *user) []byte {
	t.Helper()
	store := keystore.New(keystore.WithOrderedAliases())
	cert := func(u *user) keystore.Certificate { return keystore.Certificate{Type: "X.509", Content: u.cert.Raw} }
	key := keystore.PrivateKeyEntry{PrivateKey: []byte("key"), CertificateChain: []keystore.Certificate{cert(x), cert(x)}}
	if err := store.SetPrivateKeyEntry("a", key, []byte(JKSPassword)); err != nil {
		t.Fatal(err)
	}
	for alias, u := range map[string]*user{"b": x, "c": y} {
		if err := store.SetTrustedCertificateEntry(alias, keystore.TrustedCertificateEntry{Certificate: cert(u)}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := store.Store(&out, []byte("another password")); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestJavaCertificates(t *testing.T) {
	x, y := userCA(t, "x", ecKey(t), nil, nil), userCA(t, "y", ecKey(t), nil, nil)
	for name, data := range javaStores(t, x, y) {
		t.Run(name, func(t *testing.T) {
			found, err := JavaCertificates(data, []string{JKSPassword, ""})
			s := NewImageStore()
			s.AddDER(found, Authorities)
			if err != nil || len(s.Anchors()) != 2 || s.Skipped() != 0 {
				t.Fatalf("%d anchors, %d skipped, %v", len(s.Anchors()), s.Skipped(), err)
			}
			if found, err := JavaCertificates(data[:len(data)/2], []string{JKSPassword, ""}); err == nil || len(found) > 1 {
				t.Errorf("half a store: error %v, %d certificates", err, len(found))
			}
		})
	}
	p12, err := pkcs12.Modern2026.EncodeTrustStore([]*x509.Certificate{x.cert}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]int{"": 0, JKSPassword: 0, "secret": 1} {
		if found, _ := JavaCertificates(p12, []string{password}); len(found) != want {
			t.Errorf("password %q: %d certificates", password, len(found))
		}
	}
}

// TestImageStoreWithKeytool reads what Java itself writes, the password-less PKCS #12 of Java 18 and later included.
func TestImageStoreWithKeytool(t *testing.T) {
	keytool := tool(t, "keytool")
	x := userCA(t, "x", rsaKey(t, 2048), nil, nil)
	cert := write(t, "x.pem", pemOf(x))
	for name, args := range map[string][]string{
		"JKS":     {"-storetype", "JKS", "-storepass", "something"},
		"PKCS12":  {"-storetype", "PKCS12", "-storepass", JKSPassword},
		"no pass": {"-storetype", "PKCS12", "-storepass", JKSPassword, "-J-Dkeystore.pkcs12.macAlgorithm=NONE", "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cacerts")
			out, err := exec.Command(keytool, append([]string{"-importcert", "-noprompt", "-alias", "x", "-file", cert, "-keystore", path}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := JavaCertificates(data, []string{JKSPassword, ""}); err != nil || len(found) != 1 || !bytes.Equal(found[0], x.cert.Raw) {
				t.Errorf("%d certificates, %v", len(found), err)
			}
		})
	}
}

// FuzzImageStore: whatever an image holds, the result can be written in both forms and has no private key.
func FuzzImageStore(f *testing.F) {
	x, y := userCA(f, "x", ecKey(f), nil, nil), userCA(f, "y", ecKey(f), nil, nil)
	f.Add(pemOf(x, y))
	f.Add(append(reveal(f, x.key), pemOf(x)...))
	f.Add(x.cert.Raw)
	f.Add([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x02"))
	for name, data := range javaStores(f, x, y) {
		if strings.HasPrefix(name, "JKS") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewImageStore()
		s.AddPEM(data, Anything)
		if bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}) {
			found, _ := JavaCertificates(data, nil)
			s.AddDER(found, Anything)
		}
		out := s.Anchors()
		if n := bytes.Count(out.PEM(), []byte("BEGIN CERT")); n != len(out) || bytes.Contains(out.PEM(), []byte("PRIVATE")) {
			t.Errorf("%d certificates of %d anchors", n, len(out))
		}
		if len(out) > 0 {
			if _, err := ParseCertificates(out.PEM()); err != nil {
				t.Error(err)
			}
		}
		if _, err := out.JKS(); err != nil {
			t.Error(err)
		}
	})
}

// TestImageStoreOrder: what is random in the process must not show in the result.
func TestImageStoreOrder(t *testing.T) {
	var data []byte
	for range 5 {
		data = append(data, pemOf(userCA(t, rand.Text(), ecKey(t), nil, nil))...)
	}
	first, second := NewImageStore(), NewImageStore()
	first.AddPEM(data, Anything)
	second.AddPEM(data, Anything)
	if !bytes.Equal(first.Anchors().PEM(), second.Anchors().PEM()) {
		t.Error("two runs differ")
	}
}
