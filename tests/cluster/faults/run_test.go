// Package faults kills netproxy's controllers after each single one of their writes, on a real API server, and looks at what the next
// ones make of it. The program runs in the test's own process.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/netproxy/netproxy/webhook"
	"github.com/netproxy/netproxy/webhook/inject"
)

// errKilled is what a dead process would see.
var errKilled = errors.New("the process was killed")

// reaper lets a number of writes through and then nothing more.
type reaper struct {
	// only says which writes are counted.
	only func(*http.Request) bool
	kill context.CancelFunc
	// breaks, if it is set, says which requests the API server fails to answer.
	breaks func(*http.Request) bool

	mu     sync.Mutex
	left   int // negative: no end
	dead   bool
	writes []string
}

// link is one of the transports that a client makes, all under the same reaper.
type link struct {
	*reaper
	next http.RoundTripper
}

func (l link) RoundTrip(request *http.Request) (*http.Response, error) {
	l.mu.Lock()
	dead, broken := l.dead, l.breaks != nil && l.breaks(request)
	l.mu.Unlock()
	switch {
	case dead:
		return nil, errKilled
	case broken:
		return failure(request, http.StatusGatewayTimeout), nil
	}
	response, err := l.next.RoundTrip(request)
	if err != nil || request.Method == http.MethodGet || !l.only(request) {
		return response, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, fmt.Sprintf("%s %s", request.Method, request.URL.Path))
	if l.left--; l.left == 0 {
		l.dead = true
		l.kill()
		response.Body.Close()
		return nil, errKilled
	}
	return response, nil
}

func failure(request *http.Request, status int) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Timeout","message":"made to fail","code":%d}`, status)
	return &http.Response{
		StatusCode: status, Request: request, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// setBreaks changes what fails.
func (r *reaper) setBreaks(breaks func(*http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.breaks = breaks
}

// count is how many writes there were, and what they were.
func (r *reaper) count() (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.writes), strings.Join(r.writes, ", ")
}

// about says whether a write is part of a policy's reconciliation: events and leases are not.
func about(namespace, policy string) func(*http.Request) bool {
	return func(request *http.Request) bool {
		path := request.URL.Path
		switch {
		case strings.Contains(path, "/events"), strings.Contains(path, "/leases"), strings.HasSuffix(path, "/status"):
			return false // a status is made anew from everything else
		case strings.Contains(path, "/namespaces/"+namespace):
			return true
		}
		return strings.Contains(path, "netproxy-ca.egp."+namespace+"."+policy) ||
			request.Method == http.MethodPost && strings.HasSuffix(path, "/namespaces/"+own+"/secrets")
	}
}

const own = "netproxy-system"

// start runs the program until stop is called, or until it has written n times; 0 means without end.
func start(t *testing.T, cfg *rest.Config, n int, only func(*http.Request) bool) (r *reaper, dead <-chan struct{}, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r = &reaper{only: only, kill: cancel, left: n}
	if n == 0 {
		r.left = -1
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return link{r, next}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := webhook.Run(ctx, cfg, webhook.Options{
			Namespace: own, Images: inject.Images{Init: "netproxy.test/init:1", Proxy: "netproxy.test/envoy:1", CLI: "netproxy.test/cli:1"},
			Metrics: "0", Health: "0", Port: freePort(t), Election: webhook.Alone, Log: logger(),
		})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}()
	return r, done, func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Error("the program does not end")
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// logger prints what the program says if -v is not enough to understand a failure.
func logger() logr.Logger {
	if os.Getenv("NETPROXY_LOG") == "" {
		return logr.Discard()
	}
	return logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
}
