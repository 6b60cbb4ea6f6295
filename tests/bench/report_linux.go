package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// bound is the direction of a target.
type bound string

// The bounds. A row without one is information.
const (
	atMost  bound = "≤"
	atLeast bound = "≥"
)

// row is one line of the report. Where something else was measured beside netproxy, the target is about the ratio
// netproxy/other, else about netproxy's own value.
type row struct {
	Benchmark string   `json:"benchmark"`
	Measure   string   `json:"measure"`
	Unit      string   `json:"unit,omitempty"`
	Other     string   `json:"other,omitempty"` // what netproxy is compared with
	Beside    *float64 `json:"otherValue,omitempty"`
	Netproxy  *float64 `json:"netproxy,omitempty"`
	Ratio     *float64 `json:"ratio,omitempty"`
	Spread    *float64 `json:"ratioSpread,omitempty"` // half the distance of the ratios' quartiles
	Bound     bound    `json:"bound,omitempty"`
	Target    float64  `json:"target,omitempty"`
	Result    string   `json:"result"`
	Note      string   `json:"note,omitempty"`
}

// compared is a row of pairs that were measured in turns: the ratio is the median of the pairs' ratios, so that what
// disturbs the machine disturbs both sides of it.
func compared(measure, unit, other string, pairs [][2]float64, b bound, target float64) row {
	var left, right, ratios []float64
	for _, p := range pairs {
		left, right, ratios = append(left, p[0]), append(right, p[1]), append(ratios, p[1]/p[0])
	}
	r := row{Measure: measure, Unit: unit, Other: other, Bound: b, Target: target}
	r.Beside, r.Netproxy, r.Ratio = ptr(median(left)), ptr(median(right)), ptr(median(ratios))
	r.Spread = ptr((quantile(ratios, 0.75) - quantile(ratios, 0.25)) / 2)
	return r.judged(*r.Ratio)
}

// absolute is a row with a value of netproxy alone.
func absolute(measure, unit string, value float64, b bound, target float64) row {
	return row{Measure: measure, Unit: unit, Netproxy: &value, Bound: b, Target: target}.judged(value)
}

func skipped(measure, why string) row {
	return row{Measure: measure, Result: "SKIPPED", Note: why}
}

func (r row) judged(value float64) row {
	switch {
	case r.Bound == "":
		r.Result = "information"
	case r.Bound == atMost && value <= r.Target, r.Bound == atLeast && value >= r.Target:
		r.Result = "OK"
	default:
		r.Result = "MISS"
	}
	return r
}

func (r row) noted(format string, args ...any) row {
	r.Note = fmt.Sprintf(format, args...)
	return r
}

func ptr(v float64) *float64 { return &v }

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile interpolates between the two nearest values; it is NaN for none.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(v))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func printRows(out io.Writer, rows []row, o *options) error {
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Rounds int   `json:"rounds"`
			Rows   []row `json:"rows"`
		}{o.rounds, rows})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BENCHMARK\tMEASURE\tUNIT\tBESIDE\tITS VALUE\tNETPROXY\tRATIO\tTARGET\tRESULT\tNOTE")
	for _, r := range rows {
		target := ""
		if r.Bound != "" {
			target = fmt.Sprintf("%s %.4g", r.Bound, r.Target)
		}
		ratio := number(r.Ratio)
		if r.Spread != nil {
			ratio = fmt.Sprintf("%.3f ±%.3f", *r.Ratio, *r.Spread)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Benchmark, r.Measure, r.Unit, r.Other,
			number(r.Beside), number(r.Netproxy), ratio, target, r.Result, r.Note)
	}
	if o.rounds < 5 {
		fmt.Fprintf(w, "\n%d rounds are a trial; conclusions need at least 5.\n", o.rounds)
	}
	return w.Flush()
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	if *v >= 1000 {
		return fmt.Sprintf("%.0f", *v)
	}
	return fmt.Sprintf("%.4g", *v)
}
