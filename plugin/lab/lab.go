package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Options say what a lab looks like. The zero value is one pod.
type Options struct {
	// Pods is the number of pods, 1 to 250; 0 means 1.
	Pods int
	// RunDir is where the proxy may write in its container (its admin socket);
	// empty means /run/netproxy.
	RunDir string
	// Closed is passed to the packet filter: destinations that stay closed
	// under default Allow, for traffic that is not TCP.
	Closed []netip.Prefix
	// Search are the search domains of the pods' resolv.conf; nil means those
	// that Kubernetes gives to a pod in the namespace default.
	Search []string
}

// Lab is a running world: the Internet, its DNS, and pods.
type Lab struct {
	World  *World
	Ledger *Ledger
	Pods   []*Pod
	// IPv6 says whether the kernel has it; the lab is IPv4 only otherwise.
	IPv6 bool

	opts      Options
	resolvers []netip.Addr
	platform
	servers []server
}

// server is something that has to be stopped.
type server interface{ close() error }

// New builds a lab in the namespaces of this process, which must be [Inside].
// There is one lab at a time in a process.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if opts.Pods == 0 {
		opts.Pods = 1
	}
	if opts.RunDir == "" {
		opts.RunDir = "/run/netproxy"
	}
	if opts.Search == nil {
		opts.Search = []string{"default.svc.cluster.local", "svc.cluster.local", "cluster.local"}
	}
	if opts.Pods < 1 || opts.Pods > 250 {
		return nil, fmt.Errorf("a lab has 1 to 250 pods, not %d", opts.Pods)
	}
	platform, err := newPlatform()
	if err != nil {
		return nil, err
	}
	l := &Lab{opts: opts, Ledger: newLedger(), platform: platform, IPv6: kernelHasIPv6()}
	l.resolvers = l.defaultResolvers()
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	ca, err := NewAuthority()
	if err != nil {
		return err
	}
	if err := l.serve(ctx, ca); err != nil {
		return err
	}
	for n := range l.opts.Pods {
		p, err := l.newPod(n)
		if err != nil {
			return err
		}
		l.Pods = append(l.Pods, p)
	}
	return nil
}

// serve makes the process's own network namespace the Internet.
func (l *Lab) serve(ctx context.Context, ca *Authority) error {
	l.World = newWorld(ca, l.families()...)
	l.Ledger.owners = l.World.Owners
	servers, err := serveInternet(ctx, l.World, l.Ledger, l.resolvers)
	l.servers = append(l.servers, servers...)
	return err
}

// startServers returns the servers that run, also when one of them does not start.
func startServers(ctx context.Context, w *World, l *Ledger, resolvers []netip.Addr) ([]server, error) {
	upstream, err := startUpstream(ctx, w, l, resolvers)
	if err != nil {
		return nil, err
	}
	names, err := startDNS(ctx, w, l, resolvers)
	if err != nil {
		return []server{upstream}, err
	}
	return []server{upstream, names}, nil
}

// Close stops everything that the lab started. The namespaces end with the
// process.
func (l *Lab) Close() error {
	var errs []error
	for _, p := range l.Pods {
		errs = append(errs, p.close())
	}
	for _, s := range l.servers {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, l.platform.close())...)
}

// Resolvers are the addresses of the pods' DNS server.
func (l *Lab) Resolvers() []netip.Addr { return l.resolvers }

// defaultResolvers has one of each family.
func (l *Lab) defaultResolvers() []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, 10}), netip.MustParseAddr("fd00:10:96::a")}
	return all[:len(l.families())]
}

func (l *Lab) resolvConf() string {
	var b strings.Builder
	if len(l.opts.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(l.opts.Search, " "))
	}
	for _, r := range l.Resolvers() {
		fmt.Fprintf(&b, "nameserver %s\n", r)
	}
	b.WriteString("options ndots:5\n")
	return b.String()
}
