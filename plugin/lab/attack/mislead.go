package attack

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

// misleader lets names resolve to addresses that are not theirs.
type misleader interface {
	// mislead makes the proxy resolve name to addr, at least: all are the
	// addresses that it may be given. It returns those that it is given.
	mislead(ctx context.Context, name string, addr netip.Addr, all []netip.Addr) ([]netip.Addr, error)
	// restore makes it resolve all names to their own addresses.
	restore(ctx context.Context) error
}

func newMisleader(l *lab.Lab, p *lab.Pod) misleader {
	if p.Restarts() {
		return &restarting{lab: l, pod: p}
	}
	return &once{lab: l, pod: p, since: map[string]uint64{}}
}

// restarting starts the proxy again, so that it asks again.
type restarting struct {
	lab   *lab.Lab
	pod   *lab.Pod
	stale bool
}

func (r *restarting) mislead(ctx context.Context, name string, addr netip.Addr, _ []netip.Addr) ([]netip.Addr, error) {
	r.stale = true
	r.lab.World.ClearOverrides()
	r.lab.World.Override(name, addr)
	_, err := r.pod.RestartEnvoy(ctx)
	return []netip.Addr{addr}, err
}

func (r *restarting) restore(ctx context.Context) error {
	if !r.stale {
		return nil
	}
	r.stale = false
	r.lab.World.ClearOverrides()
	_, err := r.pod.RestartEnvoy(ctx)
	return err
}

// once is for a proxy that remembers. Envoy keeps an address that it has
// accepted, whatever the next answer is, so that the lies come first; and it
// keeps it for a minute that an answer had no address that it accepts, so that
// all of them are in one answer: it accepts none, or connects to one.
type once struct {
	lab *lab.Lab
	pod *lab.Pod
	// since is when each name was overridden first.
	since map[string]uint64
}

func (o *once) mislead(_ context.Context, name string, _ netip.Addr, all []netip.Addr) ([]netip.Addr, error) {
	if _, ok := o.since[name]; !ok {
		if o.asked(name, 0) {
			return nil, fmt.Errorf("the proxy has resolved %s before, and cannot be restarted", name)
		}
		o.since[name] = o.lab.Ledger.Mark()
	}
	o.lab.World.Override(name, all...)
	return all, nil
}

// patience is a little more than the minute after which Envoy asks again for a
// name without an address (the default of dns_refresh_rate).
const patience = 70 * time.Second

// restore waits until the proxy has asked again for what it was told wrong. One
// that does not has dropped the name.
func (o *once) restore(ctx context.Context) error {
	if len(o.since) == 0 {
		return nil
	}
	o.lab.World.ClearOverrides()
	mark := o.lab.Ledger.Mark()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for name, since := range o.since {
		if o.asked(name, since) {
			o.lab.Ledger.Wait(limited, mark, func(e lab.Entry) bool { return o.asks(e, name) })
		}
	}
	clear(o.since)
	time.Sleep(settle) // the answer is on its way
	return ctx.Err()
}

func (o *once) asked(name string, since uint64) bool {
	for _, e := range o.lab.Ledger.Since(since) {
		if o.asks(e, name) {
			return true
		}
	}
	return false
}

func (o *once) asks(e lab.Entry, name string) bool {
	return e.Kind == lab.DNSQuery && strings.EqualFold(e.Query, name) && o.pod.IsProxy(e.From.Addr())
}
