package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// How much load one slice is. A round has new Envoys and several slices of each kind, in turns. They are short, so that
// what disturbs the machine for a second disturbs both sides of a pair.
const (
	slicesPerRound    = 8
	requestsPerSlice  = 800
	connectsPerSlice  = 80
	parallelClients   = 8
	parallelPerSlice  = 400 * time.Millisecond
	redirectsPerRound = 3
)

// Measures that several benchmarks have.
const (
	measureParallel    = "requests per second, 8 clients"
	measureParallelCPU = "CPU per request, 8 clients"
)

// comparison collects pairs of something else and netproxy, one per slice, by measure.
type comparison map[string][][2]float64

func (m comparison) add(measure string, left, right float64) {
	m[measure] = append(m[measure], [2]float64{left, right})
}

// intercept compares netproxy with an Envoy that only terminates and re-originates TLS.
func intercept(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	w, err := o.world()
	if err != nil {
		return nil, err
	}
	m := comparison{}
	for round := range o.rounds {
		if err := m.round(ctx, o, w, round); err != nil {
			return m.rows(), fmt.Errorf("round %d: %w", round+1, err)
		}
		fmt.Fprintf(progress, "round %d of %d\n", round+1, o.rounds)
	}
	return m.rows(), nil
}

func (m comparison) rows() []row {
	var out []row
	for _, r := range []struct {
		name, unit string
		bound      bound
		target     float64
	}{
		{"CPU per request, HTTP/1.1", "µs", atMost, 1.10},
		{"CPU per request, HTTP/2", "µs", atMost, 1.10},
		{"CPU per new connection, HTTP/1.1", "µs", atMost, 1.10},
		{"CPU per new connection, HTTP/2", "µs", atMost, 1.10},
		{"p50 latency, HTTP/1.1", "µs", atMost, 1.08},
		{"p50 latency, HTTP/2", "µs", atMost, 1.08},
		{"p99 latency, HTTP/1.1", "µs", atMost, 1.10},
		{"p99 latency, HTTP/2", "µs", atMost, 1.10},
		{measureParallel, "1/s", atLeast, 0.95},
		{measureParallelCPU, "µs", "", 0},
		{"anonymous memory after load", "MiB", atMost, 1.15},
		{"CPU per request, bare redirected too", "µs", "", 0},
		{"CPU per new connection, bare redirected too", "µs", "", 0},
	} {
		if pairs := m[r.name]; len(pairs) > 0 {
			out = append(out, compared(r.name, r.unit, "bare", pairs, r.bound, r.target))
		}
	}
	return out
}

// round starts both Envoys, loads them in turns, and ends them.
func (m comparison) round(ctx context.Context, o *options, w *world, n int) error {
	left, right, stop, err := w.pair(ctx, o.envoy)
	defer stop()
	if err != nil {
		return err
	}
	waits := latencies{}
	for i := range slicesPerRound {
		pair := [2]*subject{left, right}
		if (n+i)%2 == 1 {
			pair = [2]*subject{right, left} // who is first changes
		}
		if err := m.slices(ctx, pair, left, waits); err != nil {
			return err
		}
	}
	m.quantiles(waits)
	if err := m.memory(left, right); err != nil {
		return err
	}
	return m.redirect(ctx, left, right)
}

// pair starts a bare Envoy and a sidecar. stop ends what was started, and is never nil.
func (w *world) pair(ctx context.Context, envoy string) (left, right *subject, stop func(), err error) {
	stop = func() {}
	dir, err := w.sub("bare")
	if err != nil {
		return nil, nil, stop, err
	}
	b, err := startBare(ctx, envoy, dir, w.id)
	if err != nil {
		return nil, nil, stop, err
	}
	trust := pool(w.id.interception.Root())
	right, err = w.sidecar(ctx, envoy)
	if err != nil {
		return nil, nil, b.stop, err
	}
	stop = func() { b.stop(); right.stop() }
	return &subject{process: b, dial: direct, trust: trust}, right, stop, nil
}

// sidecar starts netproxy's Envoy on the interception policy, and proves that it does what it is measured for.
func (w *world) sidecar(ctx context.Context, envoy string) (*subject, error) {
	dir, err := w.sub("netproxy")
	if err != nil {
		return nil, err
	}
	spec, err := interceptPolicy()
	if err != nil {
		return nil, err
	}
	if err := renderInto(dir, spec, w.id.leafCert, w.id.leafKey, w.id.trusted); err != nil {
		return nil, err
	}
	s, err := startSidecar(envoy, dir, proxyCPU)
	if err != nil {
		return nil, err
	}
	out := &subject{process: s.process, dial: redirected, trust: pool(w.id.interception.Root())}
	err = s.await(ctx, 20*time.Second, 10*time.Millisecond, func() error { return s.ready(ctx) })
	if err == nil {
		err = out.enforces(ctx)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return out, nil
}

// enforces fails unless the credential is put in and a path that no rule allows is denied.
func (s *subject) enforces(ctx context.Context) error {
	client, err := openHTTP1(ctx, s.dial, s.trust)
	if err != nil {
		return fmt.Errorf("connect through %s: %w\n%s", s.name, err, s.tail())
	}
	defer client.close()
	status, body, err := client.get(echoPath)
	if err != nil || status != http.StatusOK || string(body) != "Bearer "+credentialValue {
		return fmt.Errorf("the credential did not arrive: status %d, %d bytes, %w", status, len(body), err)
	}
	if status, _, err = client.get("/other"); err != nil || status != http.StatusForbidden {
		return fmt.Errorf("a denied path was answered with %d, %w", status, err)
	}
	return nil
}

// slices loads both, in the order of pair; bare's numbers stand on the left.
func (m comparison) slices(ctx context.Context, pair [2]*subject, bare *subject, waits latencies) error {
	kinds := []struct {
		load   func(*subject) (slice, error)
		record func(left, right slice)
	}{
		{func(s *subject) (slice, error) { return s.sequential(ctx, openHTTP1, requestsPerSlice) }, m.recordSequential("HTTP/1.1", waits)},
		{func(s *subject) (slice, error) { return s.sequential(ctx, openHTTP2, requestsPerSlice) }, m.recordSequential("HTTP/2", waits)},
		{func(s *subject) (slice, error) { return s.connections(ctx, openHTTP1, connectsPerSlice) }, m.recordCPU("CPU per new connection, HTTP/1.1")},
		{func(s *subject) (slice, error) { return s.connections(ctx, openHTTP2, connectsPerSlice) }, m.recordCPU("CPU per new connection, HTTP/2")},
		{func(s *subject) (slice, error) { return s.parallel(ctx, openHTTP1, parallelClients, parallelPerSlice) }, m.recordParallel},
	}
	for _, k := range kinds {
		var out [2]slice
		for i, s := range pair {
			var err error
			if out[i], err = k.load(s); err != nil {
				return err
			}
		}
		if pair[0] != bare {
			out[0], out[1] = out[1], out[0]
		}
		k.record(out[0], out[1])
	}
	return nil
}

// latencies are all of a round, bare's and netproxy's, by protocol: a slice has too few for the 99th percentile.
type latencies map[string]*[2][]float64

func (m comparison) recordSequential(protocol string, waits latencies) func(left, right slice) {
	return func(left, right slice) {
		m.recordCPU("CPU per request, "+protocol)(left, right)
		all := waits[protocol]
		if all == nil {
			all = new([2][]float64)
			waits[protocol] = all
		}
		all[0], all[1] = append(all[0], left.latencies...), append(all[1], right.latencies...)
	}
}

func (m comparison) quantiles(waits latencies) {
	for protocol, all := range waits {
		for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
			m.add(name+" latency, "+protocol, 1e6*quantile(all[0], q), 1e6*quantile(all[1], q))
		}
	}
}

func (m comparison) recordCPU(measure string) func(left, right slice) {
	return func(left, right slice) { m.add(measure, left.micros(), right.micros()) }
}

func (m comparison) recordParallel(left, right slice) {
	m.add(measureParallel, left.perSecond(), right.perSecond())
	m.recordCPU(measureParallelCPU)(left, right)
}

func (m comparison) memory(left, right *subject) error {
	a, one := left.memory("RssAnon")
	b, two := right.memory("RssAnon")
	m.add("anonymous memory after load", a, b)
	return errors.Join(one, two)
}

// redirect measures once more with a bare Envoy that is reached through the packet filter's redirect, as netproxy always
// is: the rest of the difference is configuration.
func (m comparison) redirect(ctx context.Context, left, right *subject) error {
	through := *left
	through.dial = redirected
	through.before = func() error { return redirectTo(barePort) }
	back := *right
	back.before = func() error { return redirectTo(uint16(v1alpha1.DefaultProxyPort)) }
	for range redirectsPerRound {
		for measure, load := range map[string]func(*subject) (slice, error){
			"CPU per request, bare redirected too":        func(s *subject) (slice, error) { return s.sequential(ctx, openHTTP1, requestsPerSlice) },
			"CPU per new connection, bare redirected too": func(s *subject) (slice, error) { return s.connections(ctx, openHTTP1, connectsPerSlice) },
		} {
			a, one := load(&through)
			b, two := load(&back)
			if err := errors.Join(one, two, back.before()); err != nil {
				return err
			}
			m.recordCPU(measure)(a, b)
		}
	}
	return nil
}
