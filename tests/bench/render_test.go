package main

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRender is for benchstat and -memprofile; out/B is what Render writes.
func BenchmarkRender(b *testing.B) {
	for _, count := range []int{1000, 2000, 5000} {
		b.Run(fmt.Sprintf("domains=%d", count), func(b *testing.B) {
			spec := manyDomains(count)
			config, err := renderInput(spec, time.Now())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				plan, err := compile(spec)
				if err != nil {
					b.Fatal(err)
				}
				files, err := plan.Render(config)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(written(files)), "out-B")
			}
		})
	}
}
