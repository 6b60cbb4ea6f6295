package learn

import (
	"fmt"
	"slices"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
)

// longSilence is worth a remark: a job that runs once a day may not be in the records.
const longSilence = time.Hour

// Gaps are reasons why the records may not be everything.
func Gaps(base v1alpha1.Policy, records []audit.Record, broken int) []string {
	var out []string
	if !recordsAll(base) {
		out = append(out, "the policy does not record everything: add the rule {name: record-all, audit: true}, and learn again later")
	}
	if broken > 0 {
		out = append(out, fmt.Sprintf("lines of the log that cannot be read: %d; what they were about is missing", broken))
	}
	if len(records) == 0 {
		return out
	}
	times := make([]time.Time, len(records))
	for i := range records {
		times[i] = records[i].Time
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		if silence := times[i].Sub(times[i-1]); silence >= longSilence {
			out = append(out, fmt.Sprintf("nothing was recorded for %s from %s on", silence.Round(time.Minute), times[i-1].UTC().Format(time.RFC3339)))
		}
	}
	return out
}

// recordsAll asks for a rule that matches everything and records.
func recordsAll(base v1alpha1.Policy) bool {
	return slices.ContainsFunc(base.PolicySpec().Egress.Rules, func(r v1alpha1.Rule) bool {
		return r.Audit && r.Action == "" && len(r.Hosts)+len(r.CIDRs)+len(r.Ports)+len(r.HTTP) == 0
	})
}
