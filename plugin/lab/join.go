package lab

import "net/netip"

// JoinOptions describe the pod of a cluster that [Join] finds itself in.
type JoinOptions struct {
	// Resolvers are the pod's, from its resolv.conf: the Internet answers there.
	Resolvers []netip.Addr
	// Authority signs the upstreams' certificates. The pod's proxy has to trust it already.
	Authority *Authority
	// RedirectPort and AdminPort are the proxy's.
	RedirectPort, AdminPort uint16
}
