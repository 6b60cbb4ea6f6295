package xds

import (
	"fmt"

	"google.golang.org/protobuf/proto"
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

// resources writes a DiscoveryResponse.
func (w *writer) resources(messages ...proto.Message) {
	w.raw(revisionOpens + revisionBlank + `","resources":[`)
	for i, m := range messages {
		w.member(i == 0)
		w.raw(`{"@type":"` + typeURL(m) + `"`)
		w.object(m.ProtoReflect(), false)
		w.raw("}")
	}
	w.raw("]}\n")
}
