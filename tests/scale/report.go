package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report gathers lines as they are measured.
type report struct{ lines [][3]string }

func (r *report) section(title string) { r.lines = append(r.lines, [3]string{title}) }

func (r *report) add(what, note, format string, args ...any) {
	r.lines = append(r.lines, [3]string{what, fmt.Sprintf(format, args...), note})
}

func (r *report) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, line := range r.lines {
		if line[1] == "" {
			fmt.Fprintf(table, "\n%s\n", line[0])
			continue
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", line[0], line[1], line[2])
	}
	_ = table.Flush()
}

func megabytes(bytes float64) string { return fmt.Sprintf("%.1f MB", bytes/1e6) }

// quantile of values, which it sorts.
func quantile[T ~float64 | ~int64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

func median[T ~float64 | ~int64](values []T) T { return quantile(values, 0.5) }

// span is the median with the least and the greatest.
func span[T ~float64 | ~int64](values []T, show func(T) string) string {
	return fmt.Sprintf("%s (%s to %s)", show(median(values)), show(quantile(values, 0)), show(quantile(values, 1)))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

// judged says whether a goal is met.
func judged(value, goal float64) string {
	if value <= goal {
		return fmt.Sprintf("goal at most %.1f: met", goal)
	}
	return fmt.Sprintf("goal at most %.1f: MISSED", goal)
}
