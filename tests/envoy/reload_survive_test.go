package envoy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// surviveFor is how long the untouched connections have to live while everything around them changes.
const surviveFor = time.Minute

// untouched are the flows that no change of TestSurvival concerns.
func untouched() []flow {
	const stay, passed = "https://stay.reload.example/", "https://passed-stays.reload.example/"
	return []flow{
		{eventStream, stay}, {streamH2, stay}, {webSocket, stay}, {keepAlive, stay}, {keepAliveH2, stay},
		{eventStream, passed}, {webSocket, passed},
		{rawLine, "tcp://203.0.113.33:6000"},
	}
}

// step is one change of the policy around the untouched connections; it is undone before the next.
type step struct {
	name    string
	mitm    string
	changes []line
}

// survivable splits the rules, so that nothing that changes shares one with what stays.
func survivable() []line {
	return []line{
		{"stay", "{name: stay, action: Allow, hosts: [stay.reload.example], ports: [{port: 443}]}"},
		{"passed-stays", "{name: passed-stays, action: Allow, hosts: [passed-stays.reload.example], ports: [{port: 443}]}"},
		{"raw-stays", "{name: raw-stays, action: Allow, cidrs: [203.0.113.32/28], ports: [{port: 6000}]}"},
		{"other", "{name: other, action: Allow, hosts: [other.reload.example], ports: [{port: 443}]}"},
		{"raw", "{name: raw, action: Allow, cidrs: [203.0.113.16/28], ports: [{port: 6000}]}"},
	}
}

const (
	survivableMITM = "mitm:\n  domains: [stay.reload.example, other.reload.example]\n"
	moreDomains    = "mitm:\n  domains: [stay.reload.example, other.reload.example, more.reload.example, '*.later.example']\n"
	withLiteral    = survivableMITM + "  headerMutations:\n  - {domain: other.reload.example, headers: [{name: X-Agent, value: other}]}\n"
	withCredential = survivableMITM + "  headerMutations:\n  - {domain: other.reload.example, headers: [{name: Authorization, secretRef: {name: other, key: key}}]}\n"
)

// steps leaves out what does cut, because it belongs to every HTTP chain or to the listener: the first rule that only
// records, the first rule that takes encoded slashes, and a change of the ports on which only addresses count.
func steps() []step {
	same := survivableMITM
	return []step{
		{"a domain is added", moreDomains, nil},
		{"a literal header is added to another domain", withLiteral, nil},
		{"a credential is added to another domain", withCredential, nil},
		{"a rule for another name is added", same, []line{{"new", "{name: new, action: Allow, hosts: [more.reload.example], ports: [{port: 443}]}"}}},
		{"a rule for another name is changed", same, []line{{"other", "{name: other, action: Allow, hosts: [other.reload.example], ports: [{port: 443}], http: [{methods: [GET]}]}"}}},
		{"a rule for another name is removed", same, []line{{"other", ""}}},
		{"a rule for plaintext is added", same, []line{{"new", "{name: new, action: Allow, hosts: [plain.reload.example], ports: [{port: 80}]}"}}},
		{"another name is denied", same, []line{{"new", "{name: new, action: Deny, hosts: [more.reload.example], ports: [{port: 443}]}"}}},
		{"another network is allowed", same, []line{{"new", "{name: new, action: Allow, cidrs: [203.0.113.64/28], ports: [{port: 6000}]}"}}},
		{"another network is changed", same, []line{{"raw", "{name: raw, action: Allow, cidrs: [203.0.113.16/29], ports: [{port: 6000}]}"}}},
		{"another network is removed", same, []line{{"raw", ""}}},
		{"an audit of another name is added", same, []line{{"other", "{name: other, action: Allow, audit: true, hosts: [other.reload.example], ports: [{port: 443}]}"}}},
		{"a name passes through under its own rule", same, []line{{"new", "{name: new, action: Allow, hosts: [later.reload.example], ports: [{port: 443}]}"}}},
	}
}

// TestSurvival: additions and unrelated changes cut nothing, for a minute in which each is made and taken back.
func TestSurvival(t *testing.T) {
	ctx := testContext(t, 3*time.Minute)
	addReloadNames(t)
	before := egress(t, spec(survivable(), survivableMITM))
	p := startProxy(ctx, t, podReload, before, "-l", "error")
	start := time.Now()
	watch := p.watch(ctx, t, untouched())
	pause := surviveFor / time.Duration(2*len(steps()))
	for i, s := range steps() {
		watch.during(s.name)
		p.survive(ctx, t, egress(t, spec(survivable(), s.mitm, s.changes...)), start.Add(time.Duration(2*i+1)*pause))
		watch.during(s.name + ", and taken back")
		p.survive(ctx, t, before, start.Add(time.Duration(2*i+2)*pause))
	}
	// What the last change would cut, it cuts within the drain time.
	p.survive(ctx, t, before, time.Now().Add(drainTime+time.Second))
	watch.stop(t)
	if lived := time.Since(start); lived < surviveFor {
		t.Errorf("the connections were watched for %s only", lived)
	}
}

// survive makes a change and goes on at the given time; the leaf and credentials rotate on the way.
func (p *proxy) survive(ctx context.Context, t *testing.T, policy v1alpha1.Policy, until time.Time) {
	t.Helper()
	if err := p.compile(policy); err != nil {
		t.Fatal(err)
	}
	if err := p.newLeaf(); err != nil {
		t.Fatal(err)
	}
	for c := range p.config.Credentials {
		p.config.Credentials[c] = append(p.config.Credentials[c], 'x')
	}
	if err := p.swap(); err != nil {
		t.Fatal(err)
	}
	if err := inForce(ctx, p.envoy, p.files.Revision()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(until))
}

// watcher uses connections again and again.
type watcher struct {
	mu     sync.Mutex
	now    string
	deaths map[string][]string // by what was going on
	beats  int

	end   chan struct{}
	group sync.WaitGroup
}

const beatEvery = 250 * time.Millisecond

func (p *proxy) watch(ctx context.Context, t *testing.T, flows []flow) *watcher {
	t.Helper()
	w := &watcher{end: make(chan struct{}), deaths: map[string][]string{}, now: "nothing has changed"}
	var held []*live
	for _, f := range flows {
		held = append(held, p.hold(ctx, t, f.kind, f.target))
	}
	for i, c := range held {
		w.group.Go(func() { w.keep(c, func() *live { return p.hold(ctx, t, flows[i].kind, flows[i].target) }) })
	}
	return w
}

// keep beats until the end. What dies is written down, and opened again to see what else cuts it.
func (w *watcher) keep(c *live, again func() *live) {
	for {
		select {
		case <-w.end:
			return
		case <-time.After(beatEvery):
		}
		err := c.use()
		w.mu.Lock()
		w.beats++
		if err != nil {
			w.deaths[w.now] = append(w.deaths[w.now], fmt.Sprintf("%s (%v)", c.name, err))
		}
		w.mu.Unlock()
		if err != nil {
			c = again()
		}
	}
}

func (w *watcher) during(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = name
}

func (w *watcher) stop(t *testing.T) {
	t.Helper()
	close(w.end)
	w.group.Wait()
	for _, change := range slices.Sorted(maps.Keys(w.deaths)) {
		t.Errorf("%s: cut %d untouched connections:\n%s", change, len(w.deaths[change]), strings.Join(w.deaths[change], "\n"))
	}
	t.Logf("%d uses of untouched connections", w.beats)
	if w.beats < 100 {
		t.Errorf("%d uses are too few to say anything", w.beats)
	}
}
