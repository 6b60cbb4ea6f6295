package mitm

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// izenpe is a root that Mozilla accepts for certificates issued until this day only.
var izenpe = time.Date(2026, 4, 15, 23, 59, 59, 0, time.UTC)

func TestRoots(t *testing.T) {
	all := Roots(now)
	if _, err := ParseCertificates(all.PEM()); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(all.PEM(), []byte("BEGIN CERT")); n < 100 || n != len(all) {
		t.Errorf("%d certificates of %d roots", n, len(all))
	}
	last := izenpe.Add(maxServerLifetime)
	if before, after := len(Roots(last)), len(Roots(last.Add(time.Second))); before != after+1 {
		t.Errorf("the constrained root: %d roots before its last day, %d after", before, after)
	}
}

func TestBundles(t *testing.T) {
	ca := newCA(t, 1)
	x, y := userCA(t, "x", ecKey(t), nil, nil), userCA(t, "y", ecKey(t), nil, nil)
	roots := Roots(now)
	one, err := ParseAdditional(pemOf(x, y, x))
	if err != nil {
		t.Fatal(err)
	}
	two, err := ParseAdditional(append([]byte("# corp\n"), pemOf(y, x)...))
	if err != nil {
		t.Fatal(err)
	}
	own := Rotation{Current: ca}
	workload := WorkloadBundle(roots, own.Trusted(), one)
	upstream, err := UpstreamBundle(roots, own.Chains(), one)
	if err != nil {
		t.Fatal(err)
	}
	want := map[Source]int{SourceMozilla: len(roots), SourcePolicy: 1, SourceAdditional: 2}
	if diff := cmp.Diff(want, sources(workload)); diff != "" {
		t.Errorf("workload (-want +got):\n%s", diff)
	}
	delete(want, SourcePolicy)
	if diff := cmp.Diff(want, sources(upstream)); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	if bytes.Contains(upstream.PEM(), ca.CertificatePEM()) || !bytes.Contains(workload.PEM(), ca.CertificatePEM()) {
		t.Error("the policy's CA belongs to the workload's bundle only")
	}
	if !bytes.Equal(workload.PEM(), WorkloadBundle(roots, own.Trusted(), two).PEM()) {
		t.Error("order and duplicates of the additional CAs change the bundle")
	}
	if swapped, err := UpstreamBundle(roots, own.Chains(), two); err != nil || !bytes.Equal(upstream.PEM(), swapped.PEM()) {
		t.Errorf("order and duplicates of the additional CAs change the upstream bundle: %v", err)
	}
	if again := WorkloadBundle(roots, own.Trusted(), roots); len(again) != len(roots)+1 {
		t.Errorf("roots given again as additional: %d anchors", len(again))
	}
}

func sources(b Bundle) map[Source]int {
	count := map[Source]int{}
	for _, a := range b {
		count[a.Source]++
	}
	return count
}

func TestUpstreamNeverTrustsThePolicy(t *testing.T) {
	root := userCA(t, "corp", ecKey(t), nil, nil)
	mid := userCA(t, "mid", ecKey(t), root, nil)
	twin := userCA(t, "another certificate of the same key", mid.key, nil, nil)
	user, err := Parse(pemOf(mid, root), reveal(t, mid.key), now)
	if err != nil {
		t.Fatal(err)
	}
	next := newCA(t, 2)
	own := Rotation{Current: user, Next: next, Previous: newCA(t, 3).Root()}
	for name, extra := range map[string][]byte{
		"itself": pemOf(mid), "its root": pemOf(root), "its key": pemOf(twin),
		"the next": next.CertificatePEM(), "the previous": encodeCertificates([]*x509.Certificate{own.Previous}),
	} {
		t.Run(name, func(t *testing.T) {
			additional, err := ParseAdditional(extra)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := UpstreamBundle(Roots(now), own.Chains(), additional); !errors.Is(err, ErrPolicyCA) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestParseAdditionalRefuses(t *testing.T) {
	x := userCA(t, "x", ecKey(t), nil, nil)
	cases := map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "no certificate found"},
		"text":        {[]byte("hello"), "no certificate found"},
		"key":         {append(pemOf(x), reveal(t, x.key)...), "block 2: contains a private key"},
		"garbage DER": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "parse certificate"},
		"cut off":     {append(pemOf(x), pemOf(x)[:100]...), "of 2 PEM blocks only 1"},
		"request":     {[]byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), "is no certificate"},
		"trusted":     {[]byte("-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n"), "openssl x509"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAdditional(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}
