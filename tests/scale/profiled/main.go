// profiled is netproxy-webhook with Go's profiles beside it, at the loopback address in NETPROXY_PROFILES. The program that users run
// has no such port.
package main

import (
	"context"
	"fmt"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // showing profiles is what this program is for
	"os"
	"os/signal"
	"syscall"

	"github.com/netproxy/netproxy/webhook"
)

func main() {
	go func() { fmt.Fprintln(os.Stderr, "profiles:", http.ListenAndServe(os.Getenv("NETPROXY_PROFILES"), nil)) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := webhook.Command(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}
