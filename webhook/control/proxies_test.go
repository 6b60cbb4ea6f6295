package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// page is what Envoy 1.40.0 answered with hack/demo.yaml; "bad" after a listener with a prefix of 999 bits was put in.
func page(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "envoy-1.40.0", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestParseStats(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"good-revision.json": {"listener_manager.lds.version_text": "d9a5ed9f547f9255", "listener_manager.lds.update_rejected": "0", "sds.3ff66f0bd37bbefd.version_text": "bf9d73f7e343451a"},
		"bad-revision.json":  {"listener_manager.lds.version_text": "d9a5ed9f547f9255", "listener_manager.lds.update_rejected": "1", "sds.3ff66f0bd37bbefd.version_text": "bf9d73f7e343451a"},
	} {
		stats, err := parseStats(page(t, name))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for key := range want {
			got[key] = stats[key]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := parseStats([]byte("<html>")); err == nil {
		t.Error("a page that is none is taken for one")
	}
}

func TestParseRejected(t *testing.T) {
	if got := parseRejected(page(t, "good-rejected.json")); got != "" {
		t.Errorf("nothing was refused, and yet: %q", got)
	}
	got := parseRejected(page(t, "bad-rejected.json"))
	if !strings.HasPrefix(got, "redirect.v4: Proto constraint validation failed") || !strings.Contains(got, "PrefixLen: value must be less than or equal to 128") {
		t.Errorf("the reason is %q", got)
	}
	if strings.Contains(got, "dns_cache_config {") {
		t.Errorf("the reason has the configuration in it: %q", got)
	}
	long := parseRejected([]byte(`{"configs":[{"name":"l","error_state":{"details":"` + strings.Repeat("ü", maxReason) + `"}}]}`))
	if len(long) > maxReason || !utf8.ValidString(long) || len(long) < maxReason-3 {
		t.Errorf("%d bytes, valid: %v", len(long), utf8.ValidString(long))
	}
}

func TestParseLeaf(t *testing.T) {
	const serial = "454045dddc402e747192776dc717cb44"
	tests := map[string]struct{ body, want, got string }{
		"shown":                  {string(page(t, "certs.json")), serial, serial},
		"another":                {string(page(t, "certs.json")), "1234", serial},
		"a zero in front":        {`{"certificates":[{"cert_chain":[{"serial_number":"0a"}]}]}`, "a", "a"},
		"the second of two":      {`{"certificates":[{"cert_chain":[{"serial_number":"1"}]},{"cert_chain":[{"serial_number":"2"}]}]}`, "2", "2"},
		"none":                   {`{"certificates":[]}`, "a", ""},
		"only of an upstream CA": {`{"certificates":[{"ca_cert":[{"serial_number":"a"}],"cert_chain":[]}]}`, "a", ""},
	}
	for name, tt := range tests {
		got, err := parseLeaf([]byte(tt.body), tt.want)
		if err != nil || got != tt.got {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.got)
		}
	}
	if _, err := parseLeaf([]byte("{"), "a"); err == nil {
		t.Error("a page that is none is taken for one")
	}
}

// FuzzPages: what a pod answers is not trusted. A reason has to fit into a status.
func FuzzPages(f *testing.F) {
	for _, name := range []string{"good-revision.json", "bad-rejected.json", "certs.json"} {
		f.Add(page(f, name))
	}
	f.Add([]byte(`{"configs":[{"name":"x","error_state":{"details":"a\n: "}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := parseStats(body); err == nil && len(body) == 0 {
			t.Error("nothing is taken for stats")
		}
		if reason := parseRejected(body); len(reason) > maxReason || !utf8.ValidString(reason) {
			t.Errorf("a reason of %d bytes, valid: %v", len(reason), utf8.ValidString(reason))
		}
		if serial, err := parseLeaf(body, "abc"); err != nil && serial != "" {
			t.Errorf("both a serial and an error: %q, %v", serial, err)
		}
	})
}
