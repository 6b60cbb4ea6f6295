package lab

import (
	"context"
	"errors"
	"net/netip"
)

// JoinOptions describe the pod of a cluster that [Join] finds itself in.
type JoinOptions struct {
	// Resolvers are the pod's, from its resolv.conf: the Internet answers there.
	Resolvers []netip.Addr
	// Authority signs the upstreams' certificates. The pod's proxy has to trust it already.
	Authority *Authority
	// RedirectPort and AdminPort are the proxy's.
	RedirectPort, AdminPort uint16
}

// errJoined says that the pod is somebody else's.
var errJoined = errors.New("this pod was found by lab.Join: it starts no programs")

// Restarts reports whether the lab can start the pod's proxy again. That of a
// pod that [Join] found it cannot: what it has resolved stays resolved.
func (p *Pod) Restarts() bool { return p.thread != nil }

// Join makes a lab of a pod that somebody else made, with a proxy and a packet
// filter at work in it. The process must have been started by [EnterPod]: its
// network namespace becomes the Internet. All interfaces of the pod are taken
// down first, and stay down: from then on nothing leaves the pod but to that
// Internet. IPv6 is there if the pod had an address for it.
//
// The pod cannot run or restart anything: [Pod.StartEnvoy], [Pod.Run] and
// [Pod.Capture] are for pods of [New].
func Join(ctx context.Context, o JoinOptions) (*Lab, error) {
	platform, err := newPlatform()
	if err != nil {
		return nil, err
	}
	l := &Lab{Ledger: newLedger(), platform: platform}
	if err := l.join(ctx, o); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Networks of the link between pod and Internet: for benchmarks (RFC 2544), and
// made up (RFC 4193). Clusters use neither for pods, services or resolvers.
var (
	joinedNet4 = netip.AddrFrom4([4]byte{198, 18})
	joinedNet6 = netip.MustParseAddr("fd6e:6574:7072:6f78::")
)
