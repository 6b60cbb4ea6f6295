package envoy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

const rotatedHost = "rotated.reload.example"

// rotated is a policy that puts a credential into requests to one host.
const rotated = `
egress:
  defaultAction: Deny
  rules:
  - {name: rotated, action: Allow, hosts: [rotated.reload.example], ports: [{port: 443}]}
mitm:
  domains: [rotated.reload.example]
  headerMutations:
  - domain: rotated.reload.example
    headers: [{name: Authorization, secretRef: {name: s, key: k}, prefix: "Bearer "}]
`

// turn is one request under load: which certificate the connection was made with, and which credential arrived.
type turn struct {
	client     string
	begun      time.Time
	serial     *big.Int
	credential string
	status     int
	body       []byte
	err        error
}

// load sends requests without a pause until stop is called.
type load struct {
	p     *proxy
	dst   lab.Request
	mu    sync.Mutex
	turns []turn
	end   chan struct{}
	group sync.WaitGroup
}

func (p *proxy) load(ctx context.Context, t *testing.T) *load {
	t.Helper()
	l := &load{p: p, dst: p.place(t, ask("GET", "https://"+rotatedHost+"/")), end: make(chan struct{})}
	for i := range 3 {
		l.group.Go(func() { l.fresh(ctx, fmt.Sprintf("new connections %d", i)) })
		l.group.Go(func() { l.kept(ctx, fmt.Sprintf("keep-alive %d", i)) })
	}
	return l
}

func (l *load) running() bool {
	select {
	case <-l.end:
		return false
	case <-time.After(2 * time.Millisecond):
		return true
	}
}

// stop ends the load and gives what happened.
func (l *load) stop() []turn {
	close(l.end)
	l.group.Wait()
	return l.so()
}

func (l *load) so() []turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.turns)
}

func (l *load) fresh(ctx context.Context, name string) {
	for n := 0; l.running(); n++ {
		client := fmt.Sprintf("%s/%d", name, n)
		if c, err := l.open(ctx); err != nil {
			l.add(turn{client: client, err: err})
		} else {
			l.once(c, client, "close")
			_ = c.Close()
		}
	}
}

func (l *load) kept(ctx context.Context, name string) {
	c, err := l.open(ctx)
	if err != nil {
		l.add(turn{client: name, err: err})
		return
	}
	defer func() { _ = c.Close() }()
	for l.running() {
		if !l.once(c, name, "keep-alive") {
			return
		}
	}
}

func (l *load) open(ctx context.Context) (*lab.Session, error) {
	s, _, err := l.p.pod.Open(ctx, l.dst.Dst, &lab.TLSOptions{SNI: rotatedHost, ALPN: []string{"http/1.1"}})
	return s, err
}

func (l *load) once(s *lab.Session, client, connection string) bool {
	_ = s.SetDeadline(time.Now().Add(beatTimeout))
	out := turn{client: client, begun: time.Now(), serial: serialOf(s)}
	token := lab.NewToken()
	res := s.HTTP1().Send("GET", lab.HTTP1Request("GET", "/", "HTTP/1.1", nil, lab.Field{Name: "Host", Value: rotatedHost},
		lab.Field{Name: "Connection", Value: connection}, lab.Field{Name: lab.TokenHeader, Value: token}))
	out.status, out.body, out.err = res.Status, res.Body, res.Err
	if e, ok := l.p.lab.Ledger.Request(token); ok {
		out.credential = e.Header.Get("Authorization")
	}
	l.add(out)
	return res.Err == nil
}

func serialOf(s *lab.Session) *big.Int {
	if c, ok := s.Conn.(*tls.Conn); ok {
		return c.ConnectionState().PeerCertificates[0].SerialNumber
	}
	return nil
}

func (l *load) add(t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns = append(l.turns, t)
}

// until waits for a turn that began after now and satisfies ok, and says how long that took.
func (l *load) until(t *testing.T, what string, limit time.Duration, ok func(turn) bool) {
	t.Helper()
	start := time.Now()
	for time.Since(start) < limit {
		if slices.ContainsFunc(l.so(), func(u turn) bool { return u.begun.After(start) && ok(u) }) {
			t.Logf("%s after %s", what, time.Since(start).Round(time.Millisecond))
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("not %s within %s", what, limit)
}

// soon is how long a change of a mounted file may take to be seen on a busy machine.
const soon = 5 * time.Second

func startRotated(ctx context.Context, t *testing.T) *proxy {
	t.Helper()
	testLab(t).World.Add(rotatedHost)
	return startProxy(ctx, t, podReload, egress(t, rotated), "-l", "error")
}

// TestLeafRotation replaces the leaf under load: nobody notices but who looks at the certificate.
func TestLeafRotation(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	p := startRotated(ctx, t)
	l := p.load(ctx, t)
	for range 5 {
		if err := p.newLeaf(); err != nil {
			t.Fatal(err)
		}
		want := p.leaf.Certificate().SerialNumber
		if err := p.swap(); err != nil {
			t.Fatal(err)
		}
		l.until(t, "the new leaf is shown", soon, func(u turn) bool {
			return strings.HasPrefix(u.client, "new") && u.serial != nil && u.serial.Cmp(want) == 0
		})
		time.Sleep(300 * time.Millisecond)
	}
	turns := l.stop()
	checkLoad(t, turns)
	for client, serials := range byClient(turns, func(u turn) string { return fmt.Sprint(u.serial) }) {
		if len(slices.Compact(serials)) != 1 {
			t.Errorf("%s: one connection with the certificates %v", client, slices.Compact(serials))
		}
	}
}

// checkLoad: no request failed, and there were enough of both kinds to say so.
func checkLoad(t *testing.T, turns []turn) {
	t.Helper()
	kept, failed := 0, 0
	for _, u := range turns {
		if strings.HasPrefix(u.client, "keep-alive") {
			kept++
		}
		if u.err == nil && u.status == 200 {
			continue
		}
		if failed++; failed < 10 {
			t.Errorf("%s: %d %v %s", u.client, u.status, u.err, u.body)
		}
	}
	t.Logf("%d requests, %d of them on kept connections, %d failed", len(turns), kept, failed)
	if kept < 100 || len(turns)-kept < 100 {
		t.Errorf("%d requests on %d kept connections are too few to say anything", len(turns), kept)
	}
}

func byClient(turns []turn, value func(turn) string) map[string][]string {
	out := map[string][]string{}
	for _, u := range turns {
		out[u.client] = append(out[u.client], value(u))
	}
	return out
}

// TestCredentialRotation replaces the value of a credential under load: no request fails, and no connection that has seen
// the new value sees the old one again.
func TestCredentialRotation(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	p := startRotated(ctx, t)
	l := p.load(ctx, t)
	credential := p.plan.Credentials()[0]
	order := []string{"Bearer " + credentialValue(credential)}
	for i := range 5 {
		value := fmt.Sprintf("%srotated-%d", canary, i)
		order = append(order, "Bearer "+value)
		p.config.Credentials[credential] = xds.SecretText(value + "\n")
		if err := p.swap(); err != nil {
			t.Fatal(err)
		}
		l.until(t, "the new value arrives", soon, func(u turn) bool { return u.credential == "Bearer "+value })
		time.Sleep(300 * time.Millisecond)
	}
	turns := l.stop()
	checkLoad(t, turns)
	for client, values := range byClient(turns, func(u turn) string { return u.credential }) {
		if !slices.IsSortedFunc(values, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }) {
			t.Errorf("%s: the credentials came in the order %q", client, slices.Compact(values))
		}
		if slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(order, v) }) {
			t.Errorf("%s: unknown credential among %q", client, slices.Compact(values))
		}
	}
}

// TestEmptiedCredential: a value that is gone is 401 with a reason, and never the old one nor the client's.
func TestEmptiedCredential(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	p := startRotated(ctx, t)
	credential := p.plan.Credentials()[0]
	for _, gone := range []map[xds.Credential]xds.SecretText{{credential: {}}, {}, {credential: xds.SecretText("\n")}} {
		value := p.config.Credentials[credential]
		l := p.load(ctx, t)
		l.until(t, "the value arrives", soon, func(u turn) bool { return u.status == 200 && u.credential != "" })
		p.config.Credentials = gone
		if err := p.swap(); err != nil {
			t.Fatal(err)
		}
		l.until(t, "401", soon, func(u turn) bool { return u.status == 401 })
		time.Sleep(300 * time.Millisecond)
		checkGone(t, l.so())
		p.config.Credentials = map[xds.Credential]xds.SecretText{credential: value}
		if err := p.swap(); err != nil {
			t.Fatal(err)
		}
		l.until(t, "restored", soon, func(u turn) bool { return u.status == 200 && u.credential == "Bearer "+string(value) })
		for _, u := range l.stop() {
			if u.err != nil || u.status != 200 && u.status != 401 {
				t.Errorf("%s: %d %v", u.client, u.status, u.err)
			}
		}
	}
}

// checkGone looks at what each client got after its first 401.
func checkGone(t *testing.T, turns []turn) {
	t.Helper()
	refused := map[string]bool{}
	for _, u := range turns {
		switch {
		case u.status == 401:
			refused[u.client] = true
			var body struct{ Error, Rule, Fix string }
			if err := json.Unmarshal(u.body, &body); err != nil || body.Error == "" || body.Fix == "" {
				t.Errorf("%s: 401 with the body %q: %v", u.client, u.body, err)
			}
			if u.credential != "" {
				t.Errorf("%s: 401, and yet %q arrived", u.client, u.credential)
			}
		case refused[u.client]:
			t.Errorf("%s: %d with the credential %q after it was gone", u.client, u.status, u.credential)
		}
	}
	if len(refused) < 3 {
		t.Errorf("%d clients got 401", len(refused))
	}
}
