package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// Internet is the lab's Internet without pods, for pods that somebody else makes: it answers on every address, and on the
// resolvers' as their DNS server, and writes down what it saw.
type Internet struct {
	World  *World
	Ledger *Ledger

	servers []server
}

// NewInternet turns the network namespace of this process into the Internet. Ways back to those who use it must lie in its
// table "local" before, since everything else becomes local. It refuses to do so to the namespace of process 1.
func NewInternet(ctx context.Context, resolvers []netip.Addr) (*Internet, error) {
	if err := ownNetwork(); err != nil {
		return nil, err
	}
	world, err := NewWorld()
	if err != nil {
		return nil, err
	}
	i := &Internet{World: world, Ledger: newLedger()}
	i.Ledger.owners = world.Owners
	if i.servers, err = serveInternet(ctx, i.World, i.Ledger, resolvers); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// serveInternet makes every address of the world's families local, and answers there. It returns the servers that run, also
// when one of them does not start.
func serveInternet(ctx context.Context, w *World, l *Ledger, resolvers []netip.Addr) ([]server, error) {
	if err := serveEverything(w.families, resolvers); err != nil {
		return nil, err
	}
	quickReuse()
	packets, err := startPacketLog(l)
	if err != nil {
		return nil, err
	}
	servers, err := startServers(ctx, w, l, resolvers)
	return append(servers, packets), err
}

// Close stops the servers. The routes end with the namespace.
func (i *Internet) Close() error {
	var errs []error
	for _, s := range i.servers {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// ownNetwork guards the machine, and the host of the pods, against being turned into the Internet.
func ownNetwork() error {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("read the network namespace: %w", err)
	}
	first, err := os.Readlink("/proc/1/ns/net")
	if err != nil {
		return fmt.Errorf("read the network namespace of process 1: %w", err)
	}
	if own == first {
		return errors.New("the Internet needs a network namespace of its own")
	}
	return nil
}
