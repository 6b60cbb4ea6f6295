// netproxy-webhook injects the proxy into pods and keeps policies, Secrets and pods in step.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/netproxy/netproxy/webhook"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := webhook.Command(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}
