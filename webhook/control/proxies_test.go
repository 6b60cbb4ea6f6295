package control

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/xds"
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
		stats, err := xds.ParseStats(page(t, name))
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
	if _, err := xds.ParseStats([]byte("<html>")); err == nil {
		t.Error("a page that is none is taken for one")
	}
}

// stats are those of Envoy's own page, with some of them changed.
func stats(t *testing.T, name string, changes map[string]string) map[string]string {
	t.Helper()
	out, err := xds.ParseStats(page(t, name))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(out, changes)
	return out
}

func TestRefusedPart(t *testing.T) {
	const now, lds, rds, cds, sds = "d9a5ed9f547f9255", "listener_manager.lds", "http.netproxy_intercept.rds.requests", "cluster_manager.cds", "sds.3ff66f0bd37bbefd"
	good := Outcome{ConfigRevision: now, SecretVersions: map[string]string{sds + versionStat: "bf9d73f7e343451a"}}
	next := Outcome{ConfigRevision: "next", SecretVersions: good.SecretVersions}
	later := map[string]string{lds + versionStat: "next", rds + versionStat: "next", cds + versionStat: "next"}
	with := func(changes ...string) map[string]string {
		out := maps.Clone(later)
		for i := 0; i < len(changes); i += 2 {
			out[changes[i]] = changes[i+1]
		}
		return out
	}
	tests := map[string]struct {
		stats  map[string]string
		want   Outcome
		before map[string]string
		part   string
	}{
		"runs it":                    {stats(t, "good-revision.json", nil), good, nil, ""},
		"not there yet":              {stats(t, "good-revision.json", nil), next, nil, ""},
		"listeners":                  {stats(t, "bad-revision.json", nil), next, nil, lds},
		"listeners, long ago":        {stats(t, "bad-revision.json", nil), next, map[string]string{lds + rejectedStat: "1"}, ""},
		"listeners, once more":       {stats(t, "bad-revision.json", map[string]string{lds + rejectedStat: "2"}), next, map[string]string{lds + rejectedStat: "1"}, lds},
		"Envoy started again":        {stats(t, "good-revision.json", nil), next, map[string]string{lds + rejectedStat: "1"}, ""},
		"routes":                     {stats(t, "good-revision.json", with(rds+versionStat, now, rds+rejectedStat, "1")), next, nil, rds},
		"clusters cannot be read":    {stats(t, "good-revision.json", with(cds+versionStat, now, cds+failedStat, "1")), next, nil, cds},
		"credential":                 {stats(t, "good-revision.json", with(sds+versionStat, "", sds+rejectedStat, "1")), next, nil, sds},
		"credential that is no more": {stats(t, "good-revision.json", with("sds.0123456789abcdef"+versionStat, "", "sds.0123456789abcdef"+failedStat, "1")), next, nil, ""},
	}
	for name, tt := range tests {
		if got := refusedPart(tt.stats, tt.want, tt.before); got != tt.part {
			t.Errorf("%s: %q, want %q", name, got, tt.part)
		}
	}
}

func TestParseRejected(t *testing.T) {
	if got := shorten(xds.ParseRejected(page(t, "good-rejected.json"))); got != "" {
		t.Errorf("nothing was refused, and yet: %q", got)
	}
	got := shorten(xds.ParseRejected(page(t, "bad-rejected.json")))
	if !strings.HasPrefix(got, "redirect.v4: Proto constraint validation failed") || !strings.Contains(got, "PrefixLen: value must be less than or equal to 128") {
		t.Errorf("the reason is %q", got)
	}
	if strings.Contains(got, "dns_cache_config {") {
		t.Errorf("the reason has the configuration in it: %q", got)
	}
	long := shorten(xds.ParseRejected([]byte(`{"configs":[{"name":"l","error_state":{"details":"` + strings.Repeat("ü", maxReason) + `"}}]}`)))
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
		if _, err := xds.ParseStats(body); err == nil && len(body) == 0 {
			t.Error("nothing is taken for stats")
		}
		if reason := shorten(xds.ParseRejected(body)); len(reason) > maxReason || !utf8.ValidString(reason) {
			t.Errorf("a reason of %d bytes, valid: %v", len(reason), utf8.ValidString(reason))
		}
		if serial, err := parseLeaf(body, "abc"); err != nil && serial != "" {
			t.Errorf("both a serial and an error: %q, %v", serial, err)
		}
	})
}
