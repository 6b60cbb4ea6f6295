package xds

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// validated is what protoc-gen-validate gives every Envoy message.
type validated interface {
	proto.Message
	ValidateAll() error
}

// packer packs messages into Any and keeps the first that Envoy's own rules refuse.
type packer struct{ err error }

func (k *packer) any(m validated) *anypb.Any {
	k.check(m)
	return k.plainAny(m)
}

// plainAny packs a message that has no validation.
func (k *packer) plainAny(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil && k.err == nil {
		k.err = fmt.Errorf("packing %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return packed
}

func (k *packer) check(m validated) {
	if err := m.ValidateAll(); err != nil && k.err == nil {
		k.err = fmt.Errorf("checking %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
}

// writer writes messages as compact JSON, which is YAML too. protojson varies its white space from one binary to the next
// on purpose; compacting makes the same input the same bytes.
type writer struct {
	out     bytes.Buffer
	scratch []byte
}

func (w *writer) message(m proto.Message) error {
	var err error
	if w.scratch, err = (protojson.MarshalOptions{}).MarshalAppend(w.scratch[:0], m); err != nil {
		return fmt.Errorf("writing %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	if err := json.Compact(&w.out, w.scratch); err != nil {
		return fmt.Errorf("compacting %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
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
		sum = sum.text(string(f.Data))
	}
	for _, f := range files {
		copy(f.Data[len(revisionOpens):], fmt.Sprintf("%016x", uint64(sum)))
	}
}

// resources writes a DiscoveryResponse: an Any is its type and the fields of its message (ProtoJSON), so a resource need
// not be packed to be written.
func (w *writer) resources(messages ...proto.Message) error {
	w.out.WriteString(revisionOpens + revisionBlank + `","resources":[`)
	for i, m := range messages {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.resource(m); err != nil {
			return err
		}
	}
	w.out.WriteString("]}\n")
	return nil
}

func (w *writer) resource(m proto.Message) error {
	w.out.WriteString(`{"@type":"type.googleapis.com/` + string(m.ProtoReflect().Descriptor().FullName()) + `",`)
	mark := w.out.Len()
	if err := w.message(m); err != nil {
		return err
	}
	body := w.out.Bytes()[mark:]
	copy(body, body[1:]) // its opening brace
	w.out.Truncate(w.out.Len() - 1)
	return nil
}
