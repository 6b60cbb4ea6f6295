package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/netproxy/netproxy/xds"
)

// shownVersions are the text stats of the status page /revision.
func (p *proxy) shownVersions(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	_, body, err := p.envoy.Status(ctx, "/revision")
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Stats []struct {
			Name  string
			Value any
		}
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	out := map[string]string{}
	for _, s := range page.Stats {
		out[s.Name] = fmt.Sprint(s.Value)
	}
	return out
}

// TestCredentialVersions: the status page shows for each credential the version of the rendering whose value the proxy
// sends, and never another one's.
func TestCredentialVersions(t *testing.T) {
	ctx := testContext(t, time.Minute)
	p := startRotated(ctx, t)
	credential := p.plan.Credentials()[0]
	for i, value := range []string{credentialValue(credential), canary + "second", "", canary + "third\n"} {
		p.config.Credentials[credential] = xds.SecretText(value)
		if err := p.swap(); err != nil {
			t.Fatal(err)
		}
		p.untilVersions(ctx, t, p.files.SecretVersions())
		want := 200
		if value == "" {
			want = 401
		}
		if res := p.pod.Do(ctx, p.place(t, ask("GET", "https://"+rotatedHost+"/"))); res.Status != want {
			t.Errorf("value %d is shown, and the request got %s, want %d", i, res, want)
		}
	}
}

// untilVersions waits until all of them are shown.
func (p *proxy) untilVersions(ctx context.Context, t *testing.T, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("no versions to wait for")
	}
	var shown map[string]string
	for start := time.Now(); time.Since(start) < soon; time.Sleep(5 * time.Millisecond) {
		shown = p.shownVersions(ctx, t)
		merged := maps.Clone(shown)
		maps.Copy(merged, want)
		if maps.Equal(merged, shown) {
			return
		}
	}
	t.Fatalf("want %v in %v", want, shown)
}

// TestRootsOfThePod: without upstream CAs in the files, the pod's own roots decide which upstreams are believed.
func TestRootsOfThePod(t *testing.T) {
	for name, c := range map[string]struct {
		roots  []byte
		status int
	}{
		"that know the upstream": {testLab(t).World.CAPEM(), 200},
		"that do not":            {must[[]byte](t)(otherAuthority()), 503},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t, time.Minute)
			p := startRotated(ctx, t)
			p.config.UpstreamCAs = nil
			p.config.Paths = xds.SidecarPaths()
			p.config.Paths.Roots = "/etc/envoy"
			before := mounted(p.files)
			if err := p.render(); err != nil {
				t.Fatal(err)
			}
			files := mounted(p.files)
			if files["tls/"+xds.UpstreamCAsFile] != nil {
				t.Fatalf("%s is rendered", xds.UpstreamCAsFile)
			}
			files[xds.RootsFile] = c.roots
			// In a pod the roots are there before Envoy starts.
			before[xds.RootsFile] = c.roots
			if err := errors.Join(p.envoy.Swap(before), p.envoy.Swap(files)); err != nil {
				t.Fatal(err)
			}
			if err := inForce(ctx, p.envoy, p.files.Revision()); err != nil {
				t.Fatal(err)
			}
			p.untilStatus(ctx, t, ask("GET", "https://"+rotatedHost+"/"), c.status)
		})
	}
}

func otherAuthority() ([]byte, error) {
	ca, err := authority()
	if err != nil {
		return nil, err
	}
	return ca.CertificatePEM(), nil
}
