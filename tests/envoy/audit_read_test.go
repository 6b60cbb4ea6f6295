package envoy

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// record is one audit record as a log pipeline reads it.
type record struct {
	Audit      string    `json:"audit"`
	Time       time.Time `json:"time"`
	Pod        string    `json:"pod"`
	Namespace  string    `json:"namespace"`
	Policy     string    `json:"policy"`
	Verdict    string    `json:"verdict"`
	Rule       string    `json:"rule"`
	RecordedBy string    `json:"recordedBy"`
	Host       string    `json:"host"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Status     int       `json:"status"`
	SNI        string    `json:"sni"`
	// Destination is what the client connected to.
	Destination string `json:"destination"`
}

// records reads what Envoy has written to stdout: every line is one record.
func records(t *testing.T, stdout []byte) []record {
	t.Helper()
	var out []record
	for line := range bytes.Lines(stdout) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Errorf("stdout has the line %q: %v", line, err)
			continue
		}
		if r.Audit != "netproxy" || r.Time.IsZero() || r.Pod != podName || r.Namespace != "demo" {
			t.Errorf("record without its origin: %s", line)
		}
		out = append(out, r)
	}
	return out
}

// stopAndRead ends Envoy, which writes what it still holds, and reads all its records.
func (p *proxy) stopAndRead(t *testing.T) []record {
	t.Helper()
	if err := p.envoy.Stop(); err != nil {
		t.Fatal(err)
	}
	return records(t, p.envoy.Stdout())
}

// compareRecords ignores the order, in which connections that end at the same time may differ.
func compareRecords(t *testing.T, want, got []record) {
	t.Helper()
	text := func(r record) string { b, _ := json.Marshal(r); return string(b) }
	for i := range got {
		got[i].Audit, got[i].Time, got[i].Pod, got[i].Namespace = "", time.Time{}, "", ""
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b record) bool { return text(a) < text(b) }), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("audit records (-want +got):\n%s", diff)
	}
}
