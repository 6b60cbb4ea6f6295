package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// rendering is one run of Compile and Render.
type rendering struct {
	took                        time.Duration
	allocated, renderAllocated  uint64 // bytes
	output, lds, rds, totalSize int    // bytes
}

// render measures the renderer by itself, at three sizes.
func render(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	var out []row
	var perDomain float64
	for _, count := range []int{1000, 2000, 5000} {
		m, err := renderMany(ctx, count, max(o.rounds, 5)*3)
		if err != nil {
			return out, fmt.Errorf("%d domains: %w", count, err)
		}
		fmt.Fprintf(progress, "%d domains: lds %d, rds %d, all rendered files %d, with PEM %d bytes\n", count, m.lds, m.rds, m.output, m.totalSize)
		millis := m.took.Seconds() * 1e3
		if count == 1000 {
			perDomain = millis / 1000
			out = append(out,
				absolute("1000 domains, 1000 rules", "ms", millis, atMost, 30),
				absolute("allocated by Compile and Render, of the output", "times", float64(m.allocated)/float64(m.output), atMost, 2).
					noted("%d KB of %d KB; Render alone %.2f times", m.allocated/1000, m.output/1000, float64(m.renderAllocated)/float64(m.output)),
				absolute("LDS per domain, dual stack", "KB", float64(m.lds)/1e6, atMost, 0.6).
					noted("routes beside it: %.3g KB per domain", float64(m.rds)/1e6))
			continue
		}
		// Linear: a domain costs what it costs among 1000, with a quarter for noise.
		out = append(out, absolute(fmt.Sprintf("%d domains, time per domain to that of 1000", count), "times", millis/float64(count)/perDomain, atMost, 1.25).
			noted("%.1f ms, allocated %.2f times the output", millis, float64(m.allocated)/float64(m.output)))
	}
	return out, nil
}

// renderMany gives medians.
func renderMany(ctx context.Context, count, times int) (rendering, error) {
	spec := manyDomains(count)
	config, err := renderInput(spec, time.Now())
	if err != nil {
		return rendering{}, err
	}
	var took, allocated, renderAllocated []float64
	var last rendering
	for range times {
		if last, err = renderOnce(spec, config); err != nil || ctx.Err() != nil {
			return last, errors.Join(err, ctx.Err())
		}
		took = append(took, float64(last.took))
		allocated = append(allocated, float64(last.allocated))
		renderAllocated = append(renderAllocated, float64(last.renderAllocated))
	}
	last.took = time.Duration(median(took))
	last.allocated, last.renderAllocated = uint64(median(allocated)), uint64(median(renderAllocated))
	return last, nil
}

func renderOnce(spec *v1alpha1.EgressPolicySpec, config xds.Config) (rendering, error) {
	var before, between, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	plan, err := compile(spec)
	if err != nil {
		return rendering{}, err
	}
	compiled := time.Since(began)
	runtime.ReadMemStats(&between)
	began = time.Now()
	files, err := plan.Render(config)
	if err != nil {
		return rendering{}, err
	}
	out := rendering{took: compiled + time.Since(began)}
	runtime.ReadMemStats(&after)
	out.allocated, out.renderAllocated = after.TotalAlloc-before.TotalAlloc, after.TotalAlloc-between.TotalAlloc
	out.output, out.totalSize = written(files), files.Size()
	out.lds, out.rds = len(files.Find(xds.ListenersFile).Data), len(files.Find(xds.RoutesFile).Data)
	return out, nil
}
