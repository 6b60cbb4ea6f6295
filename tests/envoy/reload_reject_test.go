package envoy

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// breakage makes valid listeners invalid, and reason is what Envoy says about it.
type breakage struct {
	name, old, new string
	reason         string
}

func breakages() []breakage {
	return []breakage{
		{"a regular expression that is none", `"regex":"'http/1\\.[01]'|'h2c'"`, `"regex":"(("`, "missing )"},
		{"an address that is none", `"address":"127.0.0.1"`, `"address":"127.0.0.256"`, "127.0.0.256"},
	}
}

// TestRejected: what Envoy rejects leaves the old configuration in force, and says why on the status port.
func TestRejected(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	addReloadNames(t)
	before := egress(t, spec(survivable(), survivableMITM))
	after := egress(t, spec(survivable(), survivableMITM, line{"raw", ""}))
	for _, b := range breakages() {
		t.Run(b.name, func(t *testing.T) {
			p := startProxy(ctx, t, podReload, before, "-l", "off")
			old := p.files.Revision()
			stream := p.hold(ctx, t, eventStream, "https://stay.reload.example/")
			if err := p.compile(after); err != nil {
				t.Fatal(err)
			}
			p.swapBroken(t, b)
			page := p.waitPage(ctx, t, "/rejected", b.reason)
			if !strings.Contains(page, `"redirect.v4"`) {
				t.Errorf("the page does not name the listener: %s", page)
			}
			p.checkInForce(ctx, t, old, raw)
			if err := stream.use(); err != nil {
				t.Errorf("the rejected configuration cut %s: %v", stream.name, err)
			}
			if err := p.change(ctx, after); err != nil {
				t.Fatal(err)
			}
			p.checkInForce(ctx, t, p.files.Revision(), closed)
			if _, body, err := p.envoy.Status(ctx, "/rejected"); err != nil || bytes.Contains(body, []byte("details")) {
				t.Errorf("the reason stays after a good configuration: %s, %v", body, err)
			}
		})
	}
}

// TestUnreadable: a file that is no configuration at all leaves the old one in force too. No listener can carry the
// reason, which is in Envoy's log; the status port counts it.
func TestUnreadable(t *testing.T) {
	ctx := testContext(t, time.Minute)
	addReloadNames(t)
	p := startProxy(ctx, t, podReload, egress(t, spec(survivable(), survivableMITM)), "-l", "warning")
	old := p.files.Revision()
	if err := p.compile(egress(t, spec(survivable(), survivableMITM, line{"raw", ""}))); err != nil {
		t.Fatal(err)
	}
	p.swapBroken(t, breakage{old: `filters.network.tcp_proxy.v3.TcpProxy"`, new: `filters.network.absent.v3.Absent"`})
	p.waitPage(ctx, t, "/revision", `"listener_manager.lds.update_failure","value":1`)
	p.checkInForce(ctx, t, old, raw)
	if !bytes.Contains(p.envoy.Stderr(), []byte("absent.v3.Absent")) {
		t.Errorf("Envoy does not say why: %s", tail(p.envoy.Stderr(), 1000))
	}
}

// swapBroken mounts the current files with listeners that Envoy cannot take.
func (p *proxy) swapBroken(t *testing.T, b breakage) {
	t.Helper()
	files := mounted(p.files)
	good := files[xds.ListenersFile]
	bad := bytes.ReplaceAll(good, []byte(b.old), []byte(b.new))
	if bytes.Equal(good, bad) {
		t.Fatalf("the listeners have no %s:\n%s", b.old, good)
	}
	files[xds.ListenersFile] = bad
	if err := p.envoy.Swap(files); err != nil {
		t.Fatal(err)
	}
}

// waitPage polls a page of the status port until it has the text.
func (p *proxy) waitPage(ctx context.Context, t *testing.T, page, text string) string {
	t.Helper()
	var body []byte
	for start := time.Now(); time.Since(start) < soon; time.Sleep(20 * time.Millisecond) {
		_, body, _ = p.envoy.Status(ctx, page)
		if bytes.Contains(body, []byte(text)) {
			return string(body)
		}
	}
	t.Errorf("%s does not say %q: %s", page, text, body)
	return string(body)
}

// checkInForce compares the revision that the status port shows and what a raw connection gets.
func (p *proxy) checkInForce(ctx context.Context, t *testing.T, revision string, want end) {
	t.Helper()
	p.waitPage(ctx, t, "/revision", revision)
	var res lab.Result
	for start := time.Now(); time.Since(start) < soon; time.Sleep(20 * time.Millisecond) {
		if res = p.pod.Do(ctx, ask("GET", "tcp://203.0.113.17:6000")); endOf(res) == want {
			return
		}
	}
	t.Errorf("revision %s: raw TCP %s (%v), want %s", revision, endOf(res), res.Err, want)
}
