// scale measures netproxy-webhook where there are many policies and pods and no nodes: a control plane only. It runs the program as its
// own account, and beside it one that does nothing. "make bench-scale" calls it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings bound what is done.
type settings struct {
	policies, pods, namespaces int
	// running is how many policies have pods that say that they run, with status ports that answer.
	running int
	// starts is how often each program is started for its idle memory, trials how often each change is made, rounds how many
	// blocks of reviews each program gets.
	starts, trials, rounds int
	// profiles is a directory for Go's profiles; empty measures the program that users run.
	profiles string
}

func main() {
	var s settings
	flag.IntVar(&s.policies, "policies", 1000, "number of policies")
	flag.IntVar(&s.pods, "pods", 10000, "number of pods")
	flag.IntVar(&s.namespaces, "namespaces", 50, "number of namespaces")
	flag.IntVar(&s.running, "running", 100, "number of policies whose pods run")
	flag.IntVar(&s.starts, "starts", 5, "starts of each program for its idle memory")
	flag.IntVar(&s.trials, "trials", 5, "how often each change is made")
	flag.IntVar(&s.rounds, "rounds", 30, "blocks of 50 admission reviews of each kind for each program")
	flag.StringVar(&s.profiles, "profiles", "", "directory to write profiles to; measures a program that has them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	b, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	defer func() { b.report.print(os.Stdout) }()
	if err := b.idle(ctx); err != nil {
		return err
	}
	if err := b.plan(); err != nil {
		return err
	}
	return b.loaded(ctx)
}

// step says on standard error what is being done: it takes minutes.
func step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// calm lets a program come to rest before it is looked at.
const calm = 6 * time.Second

// idle measures both programs where there is nothing to do.
func (b *bench) idle(ctx context.Context) error {
	step("idle: %d starts of each program", b.settings.starts)
	watching := binary{name: "noop-caches", path: b.noop.path, args: append([]string{"--caches"}, b.noop.args...)}
	var anonymous, total, ready [3][]float64
	for range b.settings.starts {
		for i, program := range []binary{b.noop, watching, b.netproxy} {
			p, err := program.start(ctx, b.dir)
			if err != nil {
				return err
			}
			time.Sleep(calm)
			m, err := p.memory()
			if err != nil {
				return err
			}
			anonymous[i], total[i], ready[i] = append(anonymous[i], m.anonymous), append(total[i], m.total), append(ready[i], p.started.Seconds())
			if err := p.stop(); err != nil {
				return err
			}
		}
	}
	b.report.section(fmt.Sprintf("Idle, median of %d starts (least to greatest)", b.settings.starts))
	for i, name := range []string{"no-op webhook", "no-op webhook that watches the same kinds", "netproxy"} {
		b.report.add(name+", anonymous memory", "", "%s", span(anonymous[i], megabytes))
		b.report.add(name+", resident with the binary's pages", "", "%s", span(total[i], megabytes))
		b.report.add(name+", start until ready", "", "%s", span(ready[i], func(s float64) string { return fmt.Sprintf("%.2f s", s) }))
	}
	ratio, apart := median(anonymous[2])/median(anonymous[0]), median(anonymous[2])/median(anonymous[1])
	b.report.add("ratio of anonymous memory", "", "%.2f", ratio)
	b.report.add("  caches apart", judged(apart, 1.3), "%.2f", apart)
	return nil
}

// loaded measures with policies and pods.
func (b *bench) loaded(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	step("creating %d policies in %d namespaces", b.settings.policies, b.settings.namespaces)
	if err := b.create(ctx); err != nil {
		return err
	}
	if err := b.deliver(ctx); err != nil {
		return err
	}
	p, err := b.first(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = p.stop() }()
	if err := b.pods(ctx, p); err != nil {
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	if p, err = b.again(ctx); err != nil {
		return err
	}
	if err := b.changes(ctx, p); err != nil {
		return err
	}
	if err := b.admission(ctx, p); err != nil {
		return err
	}
	return b.storage(ctx)
}
