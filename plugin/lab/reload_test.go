package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestSwapReloads changes the mounted files like a kubelet and sees Envoy take
// them over without a restart.
func TestSwapReloads(t *testing.T) {
	l, e := startEnvoy(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	before, err := e.Stat(ctx, "listener_manager.lds.update_success")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Swap(files(t, l, "domains: [plain.lab.example]", "domains: [plain2.lab.example]")); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitStat(ctx, "listener_manager.lds.update_success", func(v string) bool { return v != before }); err != nil {
		t.Fatal(err)
	}
	l.World.Add("plain2.lab.example")
	for name, want := range map[string]int{"plain.lab.example": 403, "plain2.lab.example": 200} {
		var got Result
		for ctx.Err() == nil { // the new listener takes over a moment later
			if got = l.Pods[0].Do(ctx, Request{Name: name}); got.Status == want {
				break
			}
		}
		if got.Status != want {
			t.Errorf("%s: %s, want %d", name, got, want)
		}
	}
}

func TestEnvoysAtTheSameTime(t *testing.T) {
	l, _ := startEnvoy(t)
	other, err := l.Pods[1].StartEnvoy(t.Context(), EnvoyOptions{Files: files(t, l, "canary-secret-value", "second-pod")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for i, want := range []string{"canary-secret-value", "second-pod"} {
		res := l.Pods[i].Do(t.Context(), Request{Name: "api.lab.example", TLS: true, Path: "/v1/x"})
		if res.Upstream == nil || res.Upstream.Header.Get("X-Injected") != want {
			t.Errorf("pod %d: %s, upstream %+v, want the header %q", i, res, res.Upstream, want)
		}
	}
}

func TestStartReportsWhatEnvoySaid(t *testing.T) {
	l, _ := startEnvoy(t)
	f := files(t, l)
	f["bootstrap.yaml"] = append(f["bootstrap.yaml"], []byte("\nno_such_field: 1\n")...)
	_, err := l.Pods[1].StartEnvoy(t.Context(), EnvoyOptions{Files: f})
	if err == nil || !strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("got %v, want Envoy's own words", err)
	}
}

func TestAdminIsTheProxysAlone(t *testing.T) {
	_, e := startEnvoy(t)
	status, body, err := e.Admin(t.Context(), "/server_info")
	if err != nil || status != 200 || !strings.Contains(string(body), "LIVE") {
		t.Errorf("admin through the socket: %d %v %s", status, err, body)
	}
}
