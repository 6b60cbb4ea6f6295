package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/netproxy/netproxy/plugin/lab"
)

// Result is the verdict of one scenario.
type Result string

// Results.
const (
	// Pass: the attack got nowhere, or what has to work works.
	Pass Result = "PASS"
	// Leak: the request, a credential or a DNS query went where it must not,
	// or the client got a success that it must not get.
	Leak Result = "LEAK"
	// Fail: nothing leaked, but the answer is not the one that the policy
	// promises: an allowed request was refused, a denial looks different.
	Fail Result = "FAIL"
	// Open: no proxy can close this; Advice says what helps.
	Open Result = "OPEN"
	// Skipped: the policy lacks what the scenario needs; Detail says what.
	Skipped Result = "SKIPPED"
)

// Outcome is one row of the fronting table.
type Outcome struct {
	ID       string `json:"id"`
	Title    string `json:"scenario"`
	Category string `json:"category"`
	SNI      string `json:"sni"`
	Host     string `json:"host"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Result   Result `json:"result"`
	Detail   string `json:"detail,omitempty"`
	Advice   string `json:"advice,omitempty"`
}

// Scenario is one attack.
type Scenario struct {
	// ID is stable and unique: lower case words with hyphens.
	ID, Title, Category string

	run func(*env) error
}

// Options are what a run needs.
type Options struct {
	Lab *lab.Lab
	// Pod runs the Envoy under attack. Scenarios about DNS restart it if they can.
	Pod    *lab.Pod
	Target Target
	// Only, when not empty, are the IDs to run.
	Only []string
	// Progress, when not nil, is called with every row as it is there.
	Progress func(Outcome)
}

// Run gives the target's names addresses on the lab's Internet and runs the
// scenarios one after the other. It can take a minute more for a proxy that
// cannot be restarted, which has to forget what it was told. The error is about the lab, never about a
// leak: see [Outcome.Result].
func Run(ctx context.Context, o Options) ([]Outcome, error) {
	for _, ep := range o.Target.endpoints() {
		if _, err := netip.ParseAddr(ep.Name); err != nil {
			o.Lab.World.Add(ep.Name)
		}
	}
	if o.Target.Denied != "" {
		o.Lab.World.Add(o.Target.Denied)
	}
	// The attacker has a name and a certificate for it, like everybody.
	for _, name := range []string{stranger, "*." + stranger} {
		o.Lab.World.Add(name, attackerAddrs(o.Lab)...)
	}
	r := runner{Options: o, names: newMisleader(o.Lab, o.Pod)}
	var out []Outcome
	for _, s := range r.order(Select(o.Only)) {
		row, err := r.attempt(ctx, s)
		if err != nil {
			return InOrder(out), err
		}
		out = append(out, row)
		if o.Progress != nil {
			o.Progress(row)
		}
	}
	if !r.Pod.Restarts() {
		return InOrder(out), nil // the pod ends with the run
	}
	return InOrder(out), r.freshen(ctx)
}

// runner is one run.
type runner struct {
	Options
	names misleader
}

// order puts rebinding first where the proxy remembers what it has resolved.
func (r *runner) order(scenarios []Scenario) []Scenario {
	if !r.Pod.Restarts() {
		slices.SortStableFunc(scenarios, func(a, b Scenario) int { return isRebinding(b) - isRebinding(a) })
	}
	return scenarios
}

func isRebinding(s Scenario) int {
	if s.Category == catRebinding {
		return 1
	}
	return 0
}

// InOrder sorts rows as [Scenarios] has them. Those of a pod's own proxy come
// in another order.
func InOrder(rows []Outcome) []Outcome {
	at := map[string]int{}
	for i, s := range Scenarios() {
		at[s.ID] = i
	}
	slices.SortStableFunc(rows, func(a, b Outcome) int { return at[a.ID] - at[b.ID] })
	return rows
}

// freshen lets the proxy resolve names to their own addresses again.
func (r *runner) freshen(ctx context.Context) error {
	if err := r.names.restore(ctx); err != nil {
		return fmt.Errorf("undo an attack on names: %w", err)
	}
	return nil
}

func attackerAddrs(l *lab.Lab) []netip.Addr {
	if l.IPv6 {
		return []netip.Addr{lab.Attacker4, lab.Attacker6}
	}
	return []netip.Addr{lab.Attacker4}
}

// Scenarios lists all attacks in the order in which they run.
func Scenarios() []Scenario {
	var out []Scenario
	for _, list := range [][]Scenario{
		controls(), fronting(), hosts(), connections(), http2Attacks(), tunnels(), framing(), paths(),
		handshakes(), addresses(), rebinding(), names(), ports(), open(),
	} {
		out = append(out, list...)
	}
	return out
}

// Select are the scenarios with these IDs, or all if none is named.
func Select(ids []string) []Scenario {
	all := Scenarios()
	if len(ids) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(s Scenario) bool { return !slices.Contains(ids, s.ID) })
}

// Bad says whether the row is a leak or a failure.
func (o Outcome) Bad() bool { return o.Result == Leak || o.Result == Fail }

// errSkip says why a scenario does not apply.
type errSkip string

func (e errSkip) Error() string { return string(e) }

const errNoIPv6 = errSkip("the pod has no IPv6")

func (r *runner) attempt(ctx context.Context, s Scenario) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, fmt.Errorf("attack: %w", err)
	}
	if s.Category != catRebinding {
		if err := r.freshen(ctx); err != nil {
			return Outcome{}, err
		}
	}
	e := &env{
		ctx: ctx, lab: r.Lab, pod: r.Pod, target: r.Target, names: r.names, token: lab.NewToken(), mark: r.Lab.Ledger.Mark(),
		out: Outcome{ID: s.ID, Title: s.Title, Category: s.Category, Result: Pass},
	}
	err := s.run(e)
	var skip errSkip
	switch {
	case errors.As(err, &skip):
		e.out.Result, e.out.Detail = Skipped, string(skip)
	case err != nil:
		e.out.Result, e.out.Detail = Fail, err.Error()
	}
	return e.out, nil
}
