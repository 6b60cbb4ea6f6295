package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// subject is a running proxy and the way to it.
type subject struct {
	*process
	dial   dial
	trust  *x509.CertPool
	before func() error // run before each slice of load
}

// slice is what a bounded load took.
type slice struct {
	requests  int
	elapsed   time.Duration
	cpu       time.Duration // of the proxy
	latencies []float64     // seconds
}

func (s slice) perSecond() float64 { return float64(s.requests) / s.elapsed.Seconds() }

// micros is the proxy's CPU time per request in microseconds.
func (s slice) micros() float64 { return float64(s.cpu.Nanoseconds()) / 1e3 / float64(s.requests) }

// measured runs load and adds the CPU time that the proxy spent on it.
func (s *subject) measured(load func() (slice, error)) (slice, error) {
	before, err := s.cpu()
	if err != nil {
		return slice{}, err
	}
	began := time.Now()
	out, err := load()
	if err != nil {
		return slice{}, fmt.Errorf("load on %s: %w\n%s", s.name, err, s.tail())
	}
	out.elapsed = time.Since(began)
	after, err := s.cpu()
	out.cpu = after - before
	return out, err
}

func (s *subject) prepared() error {
	if s.before == nil {
		return nil
	}
	return s.before()
}

// sequential is one client with one connection.
func (s *subject) sequential(ctx context.Context, o open, count int) (slice, error) {
	if err := s.prepared(); err != nil {
		return slice{}, err
	}
	client, err := o(ctx, s.dial, s.trust)
	if err != nil {
		return slice{}, fmt.Errorf("connect through %s: %w\n%s", s.name, err, s.tail())
	}
	defer client.close()
	if _, err := requests(ctx, client, count/20+5); err != nil {
		return slice{}, fmt.Errorf("warm up %s: %w", s.name, err)
	}
	return s.measured(func() (slice, error) { return requests(ctx, client, count) })
}

func requests(ctx context.Context, client session, count int) (slice, error) {
	out := slice{latencies: make([]float64, 0, count)}
	for range count {
		took, err := fetch(client)
		if err != nil {
			return slice{}, err
		}
		out.requests++
		out.latencies = append(out.latencies, took.Seconds())
		if ctx.Err() != nil {
			return slice{}, ctx.Err()
		}
	}
	return out, nil
}

// connections is one client with a connection per request, without session resumption.
func (s *subject) connections(ctx context.Context, o open, count int) (slice, error) {
	if err := s.prepared(); err != nil {
		return slice{}, err
	}
	return s.measured(func() (slice, error) {
		var out slice
		for range count {
			client, err := o(ctx, s.dial, s.trust)
			if err != nil {
				return slice{}, err
			}
			_, err = fetch(client)
			client.close()
			if err != nil {
				return slice{}, err
			}
			out.requests++
		}
		return out, nil
	})
}

// parallel is clients with one connection each for a time.
func (s *subject) parallel(ctx context.Context, o open, clients int, period time.Duration) (slice, error) {
	if err := s.prepared(); err != nil {
		return slice{}, err
	}
	sessions := make([]session, clients)
	for i := range sessions {
		client, err := o(ctx, s.dial, s.trust)
		if err != nil {
			return slice{}, fmt.Errorf("connect through %s: %w\n%s", s.name, err, s.tail())
		}
		defer client.close()
		if _, err := requests(ctx, client, 10); err != nil {
			return slice{}, fmt.Errorf("warm up %s: %w", s.name, err)
		}
		sessions[i] = client
	}
	return s.measured(func() (slice, error) { return together(ctx, sessions, period) })
}

func together(ctx context.Context, sessions []session, period time.Duration) (slice, error) {
	end := time.Now().Add(period)
	counts := make([]int, len(sessions))
	group, ctx := errgroup.WithContext(ctx)
	for i, client := range sessions {
		group.Go(func() error {
			for time.Now().Before(end) && ctx.Err() == nil {
				if _, err := fetch(client); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	err := group.Wait()
	var out slice
	for _, n := range counts {
		out.requests += n
	}
	return out, err
}
