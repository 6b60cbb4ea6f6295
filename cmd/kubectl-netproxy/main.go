// Command kubectl-netproxy is the plugin that "kubectl netproxy" runs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/netproxy/netproxy/plugin"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	streams := plugin.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := plugin.Run(ctx, streams, version, os.Args[1:])
	stop()
	os.Exit(code)
}
