package lab

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDoIsFast holds the rate that a differential test with thousands of
// requests needs: every request has its own connection and handshakes.
func TestDoIsFast(t *testing.T) {
	l, _ := startEnvoy(t)
	const workers, each = 8, 100
	var wrong atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for w := range workers {
		group.Go(func() {
			for i := range each {
				r := Request{Name: "api.lab.example", TLS: true, Path: "/v1/x", HTTP2: i%2 == 0, V6: w%2 == 0}
				if i%3 == 0 {
					r = Request{Name: "pass.lab.example", TLS: true}
				}
				if res := l.Pods[0].Do(t.Context(), r); res.Status != 200 || res.Upstream == nil {
					wrong.Add(1)
					t.Logf("%s %v %v", res, res.Err, res.Upstream)
				}
			}
		})
	}
	group.Wait()
	rate := workers * each / time.Since(begin).Seconds()
	t.Logf("%.0f requests/s", rate)
	if wrong.Load() > 0 {
		t.Errorf("%d of %d requests went wrong", wrong.Load(), workers*each)
	}
	if rate < 100 {
		t.Errorf("%.0f requests/s, want 300 on an idle machine and at least 100 on a busy one", rate)
	}
}
