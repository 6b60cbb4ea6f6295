package xds

import (
	"fmt"
	"maps"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// validated is what protoc-gen-validate gives every Envoy message.
type validated interface {
	proto.Message
	ValidateAll() error
}

// packer stands in for packing: an Any of it has only the type, and the message is kept beside it for the writer. It keeps
// the first error of Envoy's own validation, which does not look into an Any.
type packer struct {
	packed map[*anypb.Any]proto.Message
	err    error
}

func newPacker() packer { return packer{packed: map[*anypb.Any]proto.Message{}} }

func (k *packer) any(m validated) *anypb.Any {
	k.check(m)
	return k.plainAny(m)
}

// plainAny packs a message that has no validation.
func (k *packer) plainAny(m proto.Message) *anypb.Any {
	a := &anypb.Any{TypeUrl: typeURL(m)}
	k.packed[a] = m
	return a
}

func typeURL(m proto.Message) string {
	return "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
}

func (k *packer) check(m validated) {
	if err := m.ValidateAll(); err != nil && k.err == nil {
		k.err = fmt.Errorf("checking %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
}

// Every file of resources begins with its version, which Envoy shows as the one in force.
const (
	revisionOpens = `{"versionInfo":"`
	revisionBlank = "0000000000000000"
)

// stamp writes the revision, a digest of all the files, into each of them.
func stamp(files ...File) {
	sum := newDigest()
	for _, f := range files {
		sum = sum.bytes(f.Data)
	}
	for _, f := range files {
		copy(f.Data[len(revisionOpens):], fmt.Sprintf("%016x", uint64(sum)))
	}
}

// A DiscoveryResponse is resources between these.
const (
	responseOpens = revisionOpens + revisionBlank + `","resources":[`
	responseEnds  = "]}\n"
)

// sample is after how many members a list's size is foreseen. The first does not count: the one for every other name is
// shorter than those of names.
const sample = 16

// resources writes a DiscoveryResponse.
func (w *writer) resources(messages ...proto.Message) {
	w.raw(responseOpens)
	for i, m := range messages {
		w.member(i)
		w.resource(m)
		w.raw("}")
	}
	w.raw(responseEnds)
}

// resource is left open.
func (w *writer) resource(m proto.Message) {
	w.raw(`{"@type":"`)
	w.raw(typeURL(m))
	w.raw(`"`)
	w.object(m.ProtoReflect(), 1)
}

// resourceWithList writes a DiscoveryResponse of one resource with a list of messages that exist one at a time.
// next is called before each of them.
func (w *writer) resourceWithList(m proto.Message, field protoreflect.Name, count int, list func(next func())) {
	w.raw(responseOpens)
	w.resource(m)
	w.raw(`,"`)
	w.raw(m.ProtoReflect().Descriptor().Fields().ByName(field).JSONName())
	w.raw(`":[`)
	from, done := 0, 0
	list(func() {
		switch {
		case done == 1:
			from = len(w.out)
		case done == sample && count > sample:
			each := (len(w.out)-from)/(sample-1) + 1
			w.out = slices.Grow(w.out, (count-done)*(each+each/64)) // some are longer
		}
		w.member(done)
		done++
	})
	w.raw("]}")
	w.raw(responseEnds)
}

// virtualHost writes what the generic writer would, without the reflection that costs 100 bytes for each list.
func (w *writer) virtualHost(h *routev3.VirtualHost) {
	w.raw(`{"name":`)
	w.text(h.GetName())
	w.raw(`,"domains":[`)
	for i, domain := range h.GetDomains() {
		w.member(i)
		w.text(domain)
	}
	w.raw(`],"routes":[`)
	for i, route := range h.GetRoutes() {
		w.member(i)
		w.message(route.ProtoReflect())
	}
	w.raw("]")
	if len(h.GetTypedPerFilterConfig()) > 0 {
		w.raw(`,"typedPerFilterConfig":`)
		w.anys(h.GetTypedPerFilterConfig())
	}
	w.raw("}")
}

func (w *writer) anys(m map[string]*anypb.Any) {
	w.raw("{")
	for i, key := range slices.Sorted(maps.Keys(m)) {
		w.member(i)
		w.text(key)
		w.raw(":")
		w.any(m[key])
	}
	w.raw("}")
}
