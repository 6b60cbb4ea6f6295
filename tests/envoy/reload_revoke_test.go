package envoy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// rule is one line of a policy, by a name that the variants refer to.
type line struct{ id, text string }

// revocable is a policy in which each way out has a rule of its own.
func revocable() []line {
	return []line{
		{"intercepted", "{name: intercepted, action: Allow, hosts: [gone.reload.example, stay.reload.example], ports: [{port: 443}]}"},
		{"requests", "{name: requests, action: Allow, hosts: [narrow.reload.example], ports: [{port: 443}], http: [{methods: [GET]}]}"},
		{"plain", "{name: plain, action: Allow, hosts: [plain.reload.example], ports: [{port: 80}]}"},
		{"passed", "{name: passed, action: Allow, hosts: [passed.reload.example, passed-stays.reload.example], ports: [{port: 443}]}"},
		{"raw", "{name: raw, action: Allow, cidrs: [203.0.113.16/28], ports: [{port: 6000}]}"},
		{"raw-stays", "{name: raw-stays, action: Allow, cidrs: [203.0.113.32/28], ports: [{port: 6000}]}"},
		{"secure-address", "{name: secure-address, action: Allow, cidrs: [192.0.2.240/28], ports: [{port: 443}]}"},
	}
}

// spec writes the policy with some lines replaced; an empty text removes one, a new id adds one.
func spec(lines []line, mitm string, changes ...line) string {
	var b strings.Builder
	b.WriteString("egress:\n  defaultAction: Deny\n  rules:\n")
	write := func(text string) {
		if text != "" {
			b.WriteString("  - " + text + "\n")
		}
	}
	for _, l := range lines {
		text := l.text
		for _, c := range changes {
			if c.id == l.id {
				text = c.text
			}
		}
		write(text)
	}
	for _, c := range changes {
		if !hasLine(lines, c.id) {
			write(c.text)
		}
	}
	return b.String() + mitm
}

func hasLine(lines []line, id string) bool {
	for _, l := range lines {
		if l.id == id {
			return true
		}
	}
	return false
}

const (
	revocableMITM = "mitm:\n  domains: [gone.reload.example, stay.reload.example, narrow.reload.example, 192.0.2.241, by-address.reload.example]\n"
	withoutGone   = "mitm:\n  domains: [stay.reload.example, narrow.reload.example, 192.0.2.241, by-address.reload.example]\n"
)

// flow is a connection to hold, by kind and target.
type flow struct {
	kind   liveKind
	target string
}

func goneFlows() []flow {
	const gone = "https://gone.reload.example/"
	return []flow{{keepAlive, gone}, {keepAliveH2, gone}, {webSocket, gone}, {eventStream, gone}, {streamH2, gone}}
}

func plainFlows() []flow {
	const plain = "http://plain.reload.example/"
	return []flow{{keepAlive, plain}, {webSocket, plain}, {eventStream, plain}}
}

func passedFlows() []flow {
	const passed = "https://passed.reload.example/"
	return []flow{{keepAlive, passed}, {webSocket, passed}, {eventStream, passed}}
}

func rawFlows() []flow {
	return []flow{{rawLine, "tcp://203.0.113.17:6000"}, {eventStream, "http://203.0.113.17:6000/"}}
}

func narrowFlows() []flow {
	const narrow = "https://narrow.reload.example/"
	return []flow{{keepAlive, narrow}, {webSocket, narrow}, {streamH2, narrow}}
}

func addressFlows() []flow {
	const name = "https://by-address.reload.example/" // no rule has it, its address is allowed
	return []flow{{keepAlive, "https://192.0.2.241/"}, {webSocket, "https://192.0.2.241/"}, {webSocket, name}, {streamH2, name}}
}

// revocation takes something away: those flows end, and no others.
type revocation struct {
	name    string
	mitm    string
	changes []line
	ends    []flow
}

func revocations() []revocation {
	all := func(lists ...[]flow) []flow {
		var out []flow
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	return []revocation{
		{"an intercepted name leaves its rule", revocableMITM, []line{{"intercepted", "{name: intercepted, action: Allow, hosts: [stay.reload.example], ports: [{port: 443}]}"}}, goneFlows()},
		{"and its domain", withoutGone, []line{{"intercepted", "{name: intercepted, action: Allow, hosts: [stay.reload.example], ports: [{port: 443}]}"}}, goneFlows()},
		{"a name is denied", revocableMITM, []line{{"denied", "{name: denied, action: Deny, hosts: [gone.reload.example, passed.reload.example]}"}}, all(goneFlows(), passedFlows())},
		{"methods are narrowed", revocableMITM, []line{{"requests", "{name: requests, action: Allow, hosts: [narrow.reload.example], ports: [{port: 443}], http: [{methods: [POST]}]}"}}, narrowFlows()},
		{"plaintext", revocableMITM, []line{{"plain", ""}}, plainFlows()},
		{"a passed name leaves its rule", revocableMITM, []line{{"passed", "{name: passed, action: Allow, hosts: [passed-stays.reload.example], ports: [{port: 443}]}"}}, passedFlows()},
		{"raw", revocableMITM, []line{{"raw", ""}}, rawFlows()},
		{"a network is narrowed", revocableMITM, []line{{"raw", "{name: raw, action: Allow, cidrs: [203.0.113.24/29], ports: [{port: 6000}]}"}}, rawFlows()},
		{"a port is narrowed", revocableMITM, []line{{"raw", "{name: raw, action: Allow, cidrs: [203.0.113.16/28], ports: [{port: 6001}]}"}}, rawFlows()},
		{"an address is denied", revocableMITM, []line{{"denied", "{name: denied, action: Deny, cidrs: [203.0.113.17]}"}}, rawFlows()},
		{"an intercepted address", revocableMITM, []line{{"secure-address", ""}}, addressFlows()},
		{"everything", withoutGone, []line{{"intercepted", ""}, {"requests", ""}, {"plain", ""}, {"passed", ""}, {"raw", ""}, {"secure-address", ""}},
			all(goneFlows(), narrowFlows(), plainFlows(), passedFlows(), rawFlows(), addressFlows())},
	}
}

// TestRevocation: what a removed or narrowed rule allowed is gone within the drain time.
func TestRevocation(t *testing.T) {
	ctx := testContext(t, 4*time.Minute)
	addReloadNames(t)
	before := egress(t, spec(revocable(), revocableMITM))
	for _, r := range revocations() {
		t.Run(r.name, func(t *testing.T) {
			p := startProxy(ctx, t, podReload, before, "-l", "error")
			after := egress(t, spec(revocable(), r.mitm, r.changes...))
			p.revoke(ctx, t, after, r.ends)
		})
	}
}

// TestRevocationShared is the same where rules and domains are too many to have filter chains of their own.
func TestRevocationShared(t *testing.T) {
	ctx := testContext(t, 4*time.Minute)
	addReloadNames(t)
	lines, domains := revocable(), ""
	for i := range 30 {
		lines = append(lines,
			line{"", fmt.Sprintf("{name: filler-%d, action: Allow, hosts: [passed-%d.fill.example, a-%d.fill.example], ports: [{port: 443}]}", i, i, i)},
			line{"", fmt.Sprintf("{name: net-%d, action: Allow, cidrs: [10.0.%d.0/24], ports: [{port: 6000}]}", i, i)})
		domains += fmt.Sprintf(", a-%d.fill.example", i)
	}
	crowd := func(mitm string) string {
		return strings.ReplaceAll(mitm, ", by-address.reload", domains+", by-address.reload")
	}
	before := egress(t, spec(lines, crowd(revocableMITM)))
	for _, r := range revocations() {
		t.Run(r.name, func(t *testing.T) {
			p := startProxy(ctx, t, podReload, before, "-l", "error")
			p.revoke(ctx, t, egress(t, spec(lines, crowd(r.mitm), r.changes...)), r.ends)
		})
	}
}

func addReloadNames(t *testing.T) {
	t.Helper()
	for _, name := range []string{"gone", "stay", "narrow", "plain", "passed", "passed-stays", "other", "more", "later"} {
		testLab(t).World.Add(name + ".reload.example")
	}
	testLab(t).World.Add("by-address.reload.example", netip.MustParseAddr("192.0.2.242"))
}

func (p *proxy) revoke(ctx context.Context, t *testing.T, after v1alpha1.Policy, ends []flow) {
	t.Helper()
	var held []*live
	for _, f := range ends {
		held = append(held, p.hold(ctx, t, f.kind, f.target))
	}
	if err := p.change(ctx, after); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var group sync.WaitGroup
	for _, c := range held {
		group.Go(func() {
			if err := c.ends(start.Add(drainTime + slack)); err != nil {
				t.Errorf("%v %s after the change", err, time.Since(start).Round(time.Millisecond))
			}
		})
	}
	group.Wait()
	t.Logf("%d connections ended within %s of a drain time of %s", len(held), time.Since(start).Round(time.Millisecond), drainTime)
}
