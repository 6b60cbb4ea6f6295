package lab

import (
	"strings"
	"testing"
	"time"
)

func TestEnvoyInPod(t *testing.T) {
	l, e := startEnvoy(t)
	pod := l.Pods[0]
	for _, tc := range []struct {
		name    string
		request Request
		outcome Outcome
		status  int
		issuer  string
		sni     string
	}{
		{"intercepted", Request{Name: "api.lab.example", TLS: true, Path: "/v1/x"}, Answered, 200, leafIssuer, "api.lab.example"},
		{"intercepted over HTTP/2", Request{Name: "api.lab.example", TLS: true, HTTP2: true, Path: "/v1/x"}, Answered, 200, leafIssuer, "api.lab.example"},
		{"denied path", Request{Name: "api.lab.example", TLS: true, Path: "/v2/x"}, Answered, 403, leafIssuer, ""},
		{"another host", Request{Name: "api.lab.example", TLS: true, Path: "/v1/x", Host: "evil.example"}, Answered, 404, leafIssuer, ""},
		{"passed through", Request{Name: "pass.lab.example", TLS: true, Path: "/any"}, Answered, 200, AuthorityName, "pass.lab.example"},
		{"passed through over HTTP/2", Request{Name: "pass.lab.example", TLS: true, HTTP2: true}, Answered, 200, AuthorityName, "pass.lab.example"},
		{"passed through, not HTTP", Request{Name: "pass.lab.example", TLS: true, Raw: true}, Answered, 0, AuthorityName, "pass.lab.example"},
		{"plaintext", Request{Name: "plain.lab.example"}, Answered, 200, "", ""},
		{"plaintext denied", Request{Name: "api.lab.example"}, Answered, 403, "", ""},
		{"denied name", Request{Name: "denied.lab.example", TLS: true}, Reset, 0, "", ""},
	} {
		for _, v6 := range []bool{false, true} {
			tc.request.V6 = v6
			res := pod.Do(t.Context(), tc.request)
			if res.Outcome != tc.outcome || res.Status != tc.status {
				t.Errorf("%s (v6 %v): got %s %d (%v), want %s %d", tc.name, v6, res.Outcome, res.Status, res.Err, tc.outcome, tc.status)
			}
			if issuer := peerIssuer(res); issuer != tc.issuer {
				t.Errorf("%s: certificate by %q, want %q", tc.name, issuer, tc.issuer)
			}
			if wantUpstream := tc.outcome == Answered && (tc.status == 200 || tc.status == 0); (res.Upstream != nil) != wantUpstream {
				t.Errorf("%s: upstream %v, want one: %v", tc.name, res.Upstream, wantUpstream)
			} else if wantUpstream && res.Upstream.SNI != tc.sni {
				t.Errorf("%s: upstream saw SNI %q, want %q", tc.name, res.Upstream.SNI, tc.sni)
			}
		}
	}
	for deadline := time.Now().Add(3 * time.Second); !strings.Contains(string(e.Stdout()), `"host":"evil.example"`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no access log on stdout: %s", e.Stdout())
		}
	}
}

func peerIssuer(r Result) string {
	if r.Peer == nil {
		return ""
	}
	return r.Peer.Issuer
}
