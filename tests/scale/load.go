package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// patience bounds how long all policies may take.
const patience = 5 * time.Minute

// until waits for all policies, and then for the program to stop asking the API server for things.
func (b *bench) until(ctx context.Context, p *program, began time.Time) (time.Duration, counters, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		n, err := b.settled(ctx)
		if err != nil {
			return 0, counters{}, err
		}
		if n == len(b.items) {
			took := time.Since(began)
			c, err := p.quiet(ctx)
			return took, c, err
		}
		select {
		case <-ctx.Done():
			return 0, counters{}, fmt.Errorf("%d of %d policies are as they should be: %w", n, len(b.items), ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// quiet waits until the program does next to nothing: its serving certificate is looked after always.
func (p *program) quiet(ctx context.Context) (counters, error) {
	before, err := p.counters(ctx)
	for err == nil {
		select {
		case <-ctx.Done():
			return before, ctx.Err()
		case <-time.After(1500 * time.Millisecond):
		}
		var now counters
		if now, err = p.counters(ctx); err == nil && now.total()-before.total() <= 3 {
			return now, nil
		}
		before = now
	}
	return before, err
}

func (b *bench) showLoad(p *program, what string, took time.Duration, c counters) error {
	m, err := p.memory()
	if err != nil {
		return err
	}
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	b.report.add(what, "", "%.1f s", took.Seconds())
	b.report.add("  API calls", fmt.Sprint(c.calls), "%.0f", c.total())
	b.report.add("  reconciles", "", "%v", c.reconciles)
	b.report.add("  CPU", "", "%.1f s", cpu.Seconds())
	b.report.add("  memory then", "", "%s anonymous, %s resident", megabytes(m.anonymous), megabytes(m.total))
	return nil
}

// first starts the program beside policies that it has never seen.
func (b *bench) first(ctx context.Context) (*program, error) {
	step("first start")
	began := time.Now()
	p, err := b.netproxy.start(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	stop := b.profile(ctx, "first")
	took, c, err := b.until(ctx, p, began)
	stop()
	if err != nil {
		return p, err
	}
	b.report.section(fmt.Sprintf("%d policies, %d pods, %d of them running, in %d namespaces", len(b.items), b.settings.pods,
		b.settings.running*(b.settings.pods/len(b.items)), b.settings.namespaces))
	return p, b.showLoad(p, "all policies new, until every status is right", took, c)
}

// pods brings the pods while the program runs.
func (b *bench) pods(ctx context.Context, p *program) error {
	step("creating %d pods", b.settings.pods)
	before, err := p.counters(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.createPods(ctx); err != nil {
		return err
	}
	created := time.Since(began)
	took, c, err := b.until(ctx, p, began)
	if err != nil {
		return err
	}
	b.report.add("pods created by the benchmark", "", "%.1f s", created.Seconds())
	return b.showLoad(p, "  until every status is right, since the first", took, c.minus(before))
}

// again starts the program where everything is there already, as a new leader does.
func (b *bench) again(ctx context.Context) (*program, error) {
	step("second start")
	began := time.Now()
	p, err := b.netproxy.start(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	stop := b.profile(ctx, "again")
	c, err := b.seen(ctx, p)
	took := time.Since(began)
	stop()
	if err == nil {
		_, c, err = b.until(ctx, p, began)
	}
	if err != nil {
		return p, err
	}
	b.heap(ctx, "again")
	time.Sleep(calm)
	return p, b.showLoad(p, "started again, until every policy and pod was looked at", took, c)
}

// seen waits until every policy and every pod was looked at.
func (b *bench) seen(ctx context.Context, p *program) (counters, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := p.counters(ctx)
		if err != nil || int(c.reconciles["targets"]) >= len(b.items) && int(c.reconciles["pods"]) >= b.settings.pods {
			return c, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c counters) minus(before counters) counters {
	out := counters{map[string]float64{}, map[string]float64{}}
	for key, value := range c.calls {
		if d := value - before.calls[key]; d != 0 {
			out.calls[key] = d
		}
	}
	for key, value := range c.reconciles {
		if d := value - before.reconciles[key]; d != 0 {
			out.reconciles[key] = d
		}
	}
	return out
}

// profile records where the program spends its time until it is stopped, at most half a minute.
func (b *bench) profile(ctx context.Context, name string) (stop func()) {
	if b.settings.profiles == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.save(ctx, name+".cpu", "profile?seconds=12")
	}()
	return func() { <-done; cancel() }
}

func (b *bench) heap(ctx context.Context, name string) {
	if b.settings.profiles != "" {
		b.save(ctx, name+".heap", "heap?gc=1")
	}
}

func (b *bench) save(ctx context.Context, name, page string) {
	data, err := get(ctx, "http://"+os.Getenv("NETPROXY_PROFILES")+"/debug/pprof/"+page)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.settings.profiles, name), data, 0o600)
	}
	if err != nil {
		step("profile %s: %v", name, err)
	}
}
