package envoy

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// guarded has credentials, and every way to be denied around them.
const guarded = `
egress:
  defaultAction: Deny
  rules:
  - {name: api, action: Allow, audit: true, hosts: [api.canary.example, other.canary.example, private.canary.example, empty.canary.example], ports: [{port: 443}]}
  - {name: no-admin, action: Deny, hosts: [api.canary.example], http: [{paths: [{prefix: /admin}]}]}
  - {name: web, action: Allow, hosts: [api.canary.example], ports: [{port: 80}]}
mitm:
  domains: [api.canary.example, other.canary.example, private.canary.example, empty.canary.example]
  headerMutations:
  - domain: api.canary.example
    headers:
    - {name: Authorization, secretRef: {name: one, key: k}, prefix: "Bearer "}
    - {name: X-Agent, secretRef: {name: two, key: k}}
  - {domain: other.canary.example, headers: [{name: Authorization, secretRef: {name: one, key: k}, prefix: "Bearer "}]}
  - {domain: private.canary.example, headers: [{name: Authorization, secretRef: {name: one, key: k}, prefix: "Bearer "}]}
  - {domain: empty.canary.example, headers: [{name: Authorization, secretRef: {name: empty, key: k}}]}
`

// refusal is a request that is answered by the proxy itself.
type refusal struct {
	request lab.Request
	status  int
}

func refusals() []refusal {
	const api = "https://api.canary.example/"
	return []refusal{
		{ask("GET", api+"admin"), 403},
		{ask("GET", api+"admin", overHTTP2), 403},
		{ask("TRACE", api), 403},
		{ask("CONNECT", api, withPath("api.canary.example:443")), 403},
		{ask("GET", "https://other.canary.example/", withHost("api.canary.example")), 404},
		{ask("GET", "https://other.canary.example/", withHost("api.canary.example"), overHTTP2), 421},
		{ask("GET", "https://empty.canary.example/"), 401},
		{ask("GET", "https://private.canary.example/"), 503},
		{ask("GET", api+"a%00b"), 400},
		{ask("GET", api, withHost("-")), 400},
		{ask("GET", "http://other.canary.example/"), 403},
	}
}

func startGuarded(ctx context.Context, t *testing.T, args ...string) *proxy {
	t.Helper()
	for _, name := range []string{"api", "other", "empty"} {
		testLab(t).World.Add(name + ".canary.example")
	}
	testLab(t).World.Add("private.canary.example", netip.MustParseAddr("10.1.2.4"))
	p := startProxy(ctx, t, podAudit, egress(t, guarded), args...)
	for c := range p.config.Credentials {
		if c.Secret == "empty" {
			p.config.Credentials[c] = nil
		}
	}
	if err := p.swap(); err != nil {
		t.Fatal(err)
	}
	p.untilStatus(ctx, t, ask("GET", "https://empty.canary.example/"), 401)
	return p
}

// untilStatus repeats a request until it gets a status.
func (p *proxy) untilStatus(ctx context.Context, t *testing.T, r lab.Request, status int) {
	t.Helper()
	var res lab.Result
	for start := time.Now(); time.Since(start) < soon; {
		if res = p.pod.Do(ctx, p.place(t, r)); res.Status == status {
			return
		}
	}
	t.Fatalf("%s got %s (%v), not %d", r.Host, res, res.Err, status)
}

// secrets are the credentials, and the key of the leaf.
func (p *proxy) secrets() secrets {
	s := secrets{}
	s.wanted("a credential", []byte(canary))
	s.key("the key of the leaf", p.config.LeafKey)
	return s
}

// TestCanaries searches for the credentials wherever they must not be.
func TestCanaries(t *testing.T) {
	for _, level := range []string{"info", "warning"} {
		t.Run(level, func(t *testing.T) {
			ctx := testContext(t, time.Minute)
			p := startGuarded(ctx, t, "-l", level)
			s, places := p.secrets(), map[string][]byte{}
			p.control(ctx, t, s)
			p.collectRefusals(ctx, t, places)
			p.collectFiles(places)
			p.collectPages(ctx, t, places)
			// A reload and a rejection are when files are printed, if ever.
			p.swapBroken(t, breakages()[0])
			p.waitPage(ctx, t, "/rejected", breakages()[0].reason)
			p.collectPages(ctx, t, places)
			if err := p.envoy.Stop(); err != nil {
				t.Fatal(err)
			}
			places["stdout"], places["stderr"] = p.envoy.Stdout(), p.envoy.Stderr()
			for place, data := range places {
				if len(data) == 0 && place != "stderr" {
					t.Errorf("%s is empty: nothing was searched", place)
				}
				if found := s.in(data); len(found) > 0 {
					t.Errorf("%s holds %q", place, found)
				}
			}
			t.Logf("searched %d places, %d bytes of stdout, %d of stderr", len(places), len(places["stdout"]), len(places["stderr"]))
		})
	}
}

// TestDebugLogShowsCredentials is why a sidecar never runs at this level, and proves that the search finds what stderr has.
func TestDebugLogShowsCredentials(t *testing.T) {
	p := startGuarded(testContext(t, time.Minute), t, "-l", "debug")
	p.control(testContext(t, time.Minute), t, p.secrets())
	if err := p.envoy.Stop(); err != nil {
		t.Fatal(err)
	}
	if found := p.secrets().in(p.envoy.Stderr()); !slices.Equal(found, []string{"a credential"}) {
		t.Errorf("Envoy's log of the upstream requests holds %q", found)
	}
}

// control proves that the credentials are in use and that the search finds them where they belong.
func (p *proxy) control(ctx context.Context, t *testing.T, s secrets) {
	t.Helper()
	for _, r := range []lab.Request{ask("GET", "https://api.canary.example/"), ask("GET", "https://api.canary.example/", overHTTP2)} {
		res, _ := p.do(ctx, t, r)
		if res.Upstream == nil || len(s.in([]byte(fmt.Sprint(res.Upstream.Header)))) == 0 {
			t.Errorf("no credential arrived: %s, %+v", res, res.Upstream)
		}
	}
	found := 0
	for _, f := range p.files {
		if f.Secret && len(s.in(f.Data)) > 0 {
			found++
		}
	}
	if found != 3 { // one, two, and the leaf's key; the file of the empty one has nothing
		t.Errorf("%d secret files hold a secret, 3 should", found)
	}
}

func (p *proxy) collectRefusals(ctx context.Context, t *testing.T, places map[string][]byte) {
	t.Helper()
	for i, r := range refusals() {
		res := p.pod.Do(ctx, p.place(t, r.request))
		if res.Status != r.status || res.Upstream != nil {
			t.Errorf("%s %s%s: %s (%v), want %d; upstream %+v", r.request.Method, r.request.Host, r.request.Path, res, res.Err, r.status, res.Upstream)
		}
		places[fmt.Sprintf("answer %d, %d", i, r.status)] = fmt.Appendf(nil, "%v\n%s", res.Header, res.Body)
	}
	for _, r := range []lab.Request{ask("GET", "https://denied.canary.example/"), ask("GET", "https://api.canary.example/", withSNI("-"))} {
		r.Dst = netip.AddrPortFrom(stranger, 443)
		if res := p.pod.Do(ctx, r); !res.ClosedWithoutByte() {
			t.Errorf("%s: %s, want a closed connection", r.Host, res)
		}
	}
}

// collectFiles takes every file but those that hold secrets.
func (p *proxy) collectFiles(places map[string][]byte) {
	for _, f := range p.files {
		if !f.Secret {
			places["file "+f.Name] = bytes.Clone(f.Data)
		}
		places["name and print of "+f.Name] = fmt.Appendf(nil, "%v %+v", f, f.Name)
	}
	places["print of the configuration"] = fmt.Appendf(nil, "%v %+v", p.config.Credentials, p.config.LeafKey)
	places["print of the plan"] = fmt.Appendf(nil, "%+v %+v", *p.plan, p.files)
}

// collectPages reads what the admin interface and the status port show.
func (p *proxy) collectPages(ctx context.Context, t *testing.T, places map[string][]byte) {
	t.Helper()
	for _, page := range []string{"/config_dump", "/config_dump?include_eds", "/config_dump?resource=dynamic_active_secrets", "/stats", "/stats/prometheus", "/certs", "/clusters",
		"/clusters?format=json", "/listeners", "/server_info", "/init_dump", "/runtime", "/memory"} {
		_, body, err := p.envoy.Admin(ctx, page)
		if err != nil {
			t.Errorf("admin %s: %v", page, err)
		}
		places["admin "+page] = append(places["admin "+page], body...)
	}
	for page := range statusPages() {
		_, body, err := p.envoy.Status(ctx, page)
		if err != nil {
			t.Errorf("status %s: %v", page, err)
		}
		places["status "+page] = append(places["status "+page], body...)
	}
}
