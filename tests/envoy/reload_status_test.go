package envoy

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// statusPages are what the status port answers, and what must be on them.
func statusPages() map[string]string {
	return map[string]string{
		"/ready": "LIVE", "/stats/prometheus": "envoy_listener_manager_", "/revision": "version_text",
		"/certs": "days_until_expiration", "/rejected": "redirect.v4",
	}
}

// TestStatusPort: the pages, and nothing else, neither changed nor revealed.
func TestStatusPort(t *testing.T) {
	ctx := testContext(t, time.Minute)
	p := startRotated(ctx, t)
	if res, _ := p.do(ctx, t, ask("GET", "https://"+rotatedHost+"/")); res.Status != 200 {
		t.Fatalf("the request got %s", res)
	}
	for page, text := range statusPages() {
		res := p.askStatus(ctx, t, "GET", page, "HTTP/1.1")
		if res.Status != 200 || !bytes.Contains(res.Body, []byte(text)) {
			t.Errorf("%s: %s, want %q in %s", page, res, text, tail(res.Body, 300))
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"} {
			p.refusedByStatus(ctx, t, method, page)
		}
		for _, spelling := range []string{page + "?", page + "?filter=.*", page + "/", "/" + page, page + "/../quitquitquit", page + "%3Fa=b", page + ";x", page + "#x", "/." + page, strings.ToUpper(page), "http://envoy" + page + "?x"} {
			p.refusedByStatus(ctx, t, "GET", spelling)
		}
	}
	for _, path := range adminPaths() {
		p.refusedByStatus(ctx, t, "GET", path)
		p.refusedByStatus(ctx, t, "POST", path)
	}
	select {
	case <-p.envoy.Exited():
		t.Error("Envoy has ended")
	default:
	}
}

// adminPaths are Envoy's own (Envoy documentation, "Administration interface").
func adminPaths() []string {
	return []string{
		"/", "/help", "/quitquitquit", "/config_dump", "/config_dump?include_eds", "/clusters", "/listeners", "/stats", "/stats?format=json",
		"/stats/recentlookups", "/server_info", "/logging", "/logging?level=trace", "/drain_listeners", "/healthcheck/fail", "/reset_counters",
		"/memory", "/hot_restart_version", "/init_dump", "/contention", "/cpuprofiler?enable=y", "/heapprofiler", "/runtime", "/runtime_modify?a=b",
		"/reopen_logs", "/tap", "/quitquitquit?x", "//quitquitquit", "/ready/../config_dump", "*",
	}
}

func (p *proxy) askStatus(ctx context.Context, t *testing.T, method, target, version string) lab.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	s := must[*lab.Session](t)(lab.OpenFromInternet(ctx, netip.AddrPortFrom(p.pod.ProxyAddrs[0], p.pod.AdminPort)))
	defer func() { _ = s.Close() }()
	return s.HTTP1().Send(method, lab.HTTP1Request(method, target, version, nil, lab.Field{Name: "Host", Value: "envoy"}))
}

func (p *proxy) refusedByStatus(ctx context.Context, t *testing.T, method, target string) {
	t.Helper()
	res := p.askStatus(ctx, t, method, target, "HTTP/1.1")
	if res.Status != 404 && res.Status != 400 && res.Status != 403 {
		t.Errorf("%s %s: %s %s", method, target, res, tail(res.Body, 200))
	}
	if len(res.Body) > 200 {
		t.Errorf("%s %s answers %s", method, target, tail(res.Body, 400))
	}
}
