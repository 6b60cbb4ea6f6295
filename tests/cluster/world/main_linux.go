// Command world is the Internet that the pods of the test cluster see, and the cluster's DNS server. It turns the network
// namespace that it is started in into the Internet, and is controlled through a Unix socket (package control).
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/tests/cluster/control"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the cluster whose Services have names")
	socket := flag.String("socket", "", "path of the Unix socket for control")
	resolvers := flag.String("resolvers", "", "addresses of the DNS server, separated by commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig, *socket, strings.Split(*resolvers, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, socket string, resolvers []string) error {
	addrs := make([]netip.Addr, len(resolvers))
	for i, text := range resolvers {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("resolver: %w", err)
		}
		addrs[i] = addr
	}
	internet, err := lab.NewInternet(ctx, addrs)
	if err != nil {
		return err
	}
	defer func() { _ = internet.Close() }()
	names, err := newClusterNames(ctx, kubeconfig)
	if err != nil {
		return fmt.Errorf("watch the cluster's Services: %w", err)
	}
	internet.World.Delegate(names.lookup)
	return serve(ctx, socket, control.Handler(internet.World, internet.Ledger))
}

func serve(ctx context.Context, socket string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for control: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}
