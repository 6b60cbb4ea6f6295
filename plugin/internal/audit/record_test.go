package audit

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Kind{
		`{"audit":"netproxy","verdict":"Deny","sni":"-","status":403}`: IsRecord,
		`{"audit":"netproxy","verdict":"De`:                            Broken,
		`{"audit":"other"}`:                                            IsOther,
		`[2026-11-01][1][warning] text`:                                IsOther,
		``:                                                             IsOther,
		`{}`:                                                           IsOther,
		`{"audit":"netproxy","status":"x"}`:                            Broken,
	} {
		r, kind := Parse([]byte(text))
		if kind != want || r.SNI != "" {
			t.Errorf("%s: %s, %+v", text, kind, r)
		}
	}
}

func TestShell(t *testing.T) {
	for _, tc := range [][2]string{
		{"plain/a-b_c.d:1", "plain/a-b_c.d:1"}, {"", "''"}, {"a b", "'a b'"}, {"$(x)", "'$(x)'"}, {"it's", `'it'\''s'`},
		{"\x1b[31m", `'\x1b[31m'`}, {"a\nb", `'a\nb'`}, {"*", "'*'"},
	} {
		if got := Shell([]string{tc[0]}); got != tc[1] {
			t.Errorf("%q: %s, want %s", tc[0], got, tc[1])
		}
	}
}

// FuzzText: whatever a workload writes, nothing that is printed moves the cursor.
func FuzzText(f *testing.F) {
	f.Add(`{"audit":"netproxy","verdict":"Deny","host":"a:b","method":"GET","path":"/x","sni":"q","destination":"[::1]:4"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, kind := Parse([]byte(text))
		if kind != IsRecord {
			return
		}
		for _, out := range []string{Clean(r.URL()), Clean(r.Outcome()), Shell(r.ExplainArguments())} {
			if strings.ContainsFunc(out, unsafeRune) {
				t.Errorf("%q", out)
			}
		}
	})
}
