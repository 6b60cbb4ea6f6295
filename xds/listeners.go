package xds

import (
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// inspectTimeout is how long a client may take to say what it speaks. Then the connection is closed: passing it on would
// let a late ClientHello around every rule for names.
const inspectTimeout = 5 * time.Second

// helloSize is what is read of a client at first, in bytes: enough for a ClientHello with a post-quantum key and a session
// ticket. For a longer one Envoy doubles it, up to 16 KiB, which it would clear for every connection otherwise.
const helloSize = 4 << 10

type family struct{ name, loopback, any string }

// families: loopback is enough for redirected connections and keeps other pods out.
func (b *builder) families() []family {
	v4, v6 := family{"v4", "127.0.0.1", "0.0.0.0"}, family{"v6", "::1", "::"}
	switch b.cfg.Families {
	case IPv4Only:
		return []family{v4}
	case IPv6Only:
		return []family{v6}
	default:
		return []family{v4, v6}
	}
}

// listeners: one per family, so that a pod without IPv6 loses no more than IPv6.
func (b *builder) listeners() []proto.Message {
	chains := newChainSet(b)
	tree := (&selector{builder: b, in: b.inputs(), chains: chains}).tree()
	var out []proto.Message
	for _, f := range b.families() {
		listener := &listenerv3.Listener{
			Name:                   "redirect." + f.name,
			Address:                socketAddress(f.loopback, uint32(b.plan.ProxyPort)),
			ListenerFilters:        b.inspectors(),
			ListenerFiltersTimeout: durationpb.New(inspectTimeout),
			FilterChainMatcher:     tree,
			FilterChains:           chains.chains,
			// Where IPv6 is turned off there is no ::1, and a listener that cannot be bound would make the whole update count as refused.
			Freebind: wrapperspb.Bool(true),
			// Connections mostly come one by one: asking the kernel for another one at once is a system call in vain.
			MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
		}
		b.check(listener)
		out = append(out, listener)
	}
	return out
}

func (b *builder) inspectors() []*listenerv3.ListenerFilter {
	off := portPredicate(b.plan.opaque)
	return []*listenerv3.ListenerFilter{
		b.listenerFilter("original_dst", &originaldstv3.OriginalDst{}, nil),
		b.listenerFilter("tls_inspector", &tlsinspectorv3.TlsInspector{InitialReadBufferSize: wrapperspb.UInt32(helloSize)}, off),
		b.listenerFilter("http_inspector", &httpinspectorv3.HttpInspector{}, off),
	}
}

func (b *builder) listenerFilter(name string, m validated, off *listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:           name,
		ConfigType:     &listenerv3.ListenerFilter_TypedConfig{TypedConfig: b.any(m)},
		FilterDisabled: off,
	}
}

// portPredicate is nil for no port. Envoy's ranges exclude their end, and its "or" needs two members.
func portPredicate(ports PortSet) *listenerv3.ListenerFilterChainMatchPredicate {
	type predicate = listenerv3.ListenerFilterChainMatchPredicate
	var parts []*predicate
	for _, r := range ports {
		parts = append(parts, &predicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
			DestinationPortRange: &typev3.Int32Range{Start: int32(r.First), End: int32(r.Last) + 1},
		}})
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	default:
		return &predicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
			OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: parts},
		}}
	}
}
