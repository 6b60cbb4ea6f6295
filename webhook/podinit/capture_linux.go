package podinit

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/nftables"

	"github.com/netproxy/netproxy/api/special"
	"github.com/netproxy/netproxy/webhook/capture"
)

// runCapture closes the pod first. Only then it writes files, which nobody reads before it has ended.
func runCapture(h host, o captureOptions) error {
	rules, err := o.rules(h)
	if err != nil {
		return err
	}
	if err := program(h, rules); err != nil {
		return err
	}
	if err := probe(uint16(o.redirectPort)); err != nil {
		return err
	}
	return writeShares(h, o)
}

func (o captureOptions) rules(h host) (capture.Ruleset, error) {
	action, err := o.action()
	if err != nil {
		return capture.Ruleset{}, err
	}
	data, err := readBounded(h.root, "etc/resolv.conf")
	if err != nil {
		return capture.Ruleset{}, fmt.Errorf("read the pod's resolvers: %w", err)
	}
	resolvers := parseResolvers(data)
	if len(resolvers) == 0 {
		fmt.Fprintln(h.log, "/etc/resolv.conf names no name server: no DNS leaves this pod")
	}
	return capture.Rules(capture.Config{
		ProxyUID: uint32(o.uid), RedirectPort: uint16(o.redirectPort), AdminPort: uint16(o.adminPort),
		Resolvers: resolvers, Default: action, Closed: special.Prefixes(),
	})
}

// program looks for rules of others, replaces netproxy's own, and reads them back.
func program(h host, rules capture.Ruleset) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	if err := refuseConflicts(h, conn); err != nil {
		return err
	}
	err = capture.Apply(conn, rules)
	if errors.Is(err, capture.ErrNoInet) && !hasIPv6(h.root) {
		rules = rules.ForIPv4()
		err = capture.Apply(conn, rules)
	}
	if err != nil {
		return err
	}
	return capture.Verify(conn, rules)
}

// hasIPv6 says whether the kernel knows IPv6 at all; whether the pod has an address makes no difference to the rules.
func hasIPv6(root fs.FS) bool {
	_, err := fs.Stat(root, "proc/net/if_inet6")
	return err == nil
}

func refuseConflicts(h host, conn *nftables.Conn) error {
	found, err := capture.Conflicts(conn)
	if err != nil {
		return err
	}
	proc, err := fs.Sub(h.root, "proc")
	if err != nil {
		return err
	}
	legacy, err := capture.LegacyConflicts(proc)
	if err != nil {
		// The rules may be harmless, and the probe will tell.
		fmt.Fprintln(h.log, err)
	}
	var names []string
	for _, c := range append(found, legacy...) {
		names = append(names, c.Where)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("the pod's network namespace already has rules that take over outgoing connections (%s): "+
		"a service mesh or a CNI plug-in made them, and only one can have the traffic; exclude the pod from the mesh, or from the policy", strings.Join(names, "; "))
}
