package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// startup measures how soon Envoy enforces a policy with 1,000 intercepted domains, and what memory that takes.
func startup(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	w, err := o.world()
	if err != nil {
		return nil, err
	}
	dir, err := w.sub("startup")
	if err != nil {
		return nil, err
	}
	spec, err := validated(manyDomains(1000))
	if err != nil {
		return nil, err
	}
	leaf, key, err := issue(w.id.interception, spec.MITM.Domains, time.Now())
	if err != nil {
		return nil, err
	}
	if err := renderInto(dir, spec, leaf, key, w.id.trusted); err != nil {
		return nil, err
	}
	var seconds, resident, anonymous []float64
	for round := range o.rounds {
		m, err := startOnce(ctx, o.envoy, dir)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		seconds, resident, anonymous = append(seconds, m[0]), append(resident, m[1]), append(anonymous, m[2])
		fmt.Fprintf(progress, "round %d of %d\n", round+1, o.rounds)
	}
	return []row{
		absolute("1000 domains, start to ready with its listeners", "s", median(seconds), atMost, 0.5).noted("%.3g to %.3g", quantile(seconds, 0), quantile(seconds, 1)),
		absolute("1000 domains, resident memory", "MiB", median(resident), atMost, 100e6/(1<<20)).noted("anonymous: %.1f MiB; the rest is the program's file", median(anonymous)),
	}, nil
}

// startOnce returns seconds until ready, and then MiB of resident and of anonymous memory.
func startOnce(ctx context.Context, envoy, dir string) (out [3]float64, err error) {
	began := time.Now()
	s, err := startSidecar(envoy, dir, anyCPU)
	if err != nil {
		return out, err
	}
	defer s.stop()
	if err := s.await(ctx, time.Minute, 5*time.Millisecond, func() error { return s.ready(ctx) }); err != nil {
		return out, err
	}
	out[0] = time.Since(began).Seconds()
	if out[1], err = s.memory("VmRSS"); err != nil {
		return out, err
	}
	out[2], err = s.memory("RssAnon")
	return out, err
}
