package xds

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// writer writes messages as compact ProtoJSON, which is YAML too. protojson itself cannot do what a sidecar's files need:
// its white space varies from one binary to the next, and it reads every Any back into a message to write it, which was
// half of all that rendering a thousand domains allocated. A test holds the two together.
type writer struct {
	out    []byte
	packed map[*anypb.Any]proto.Message
	set    []setField // of the messages that are being written, the innermost last
	// collect appends to set.
	collect func(protoreflect.FieldDescriptor, protoreflect.Value) bool
	done    map[proto.Message]span
	err     error
}

// span is where in the output a message stands.
type span struct{ from, to int }

// once writes a message that stands in several places, such as the filters that all chains have, and copies it from then
// on.
func (w *writer) once(m proto.Message, write func()) {
	if s, ok := w.done[m]; ok {
		w.out = append(w.out, w.out[s.from:s.to]...)
		return
	}
	from := len(w.out)
	write()
	if w.done == nil {
		w.done = map[proto.Message]span{}
	}
	w.done[m] = span{from, len(w.out)}
}

// setField is a field of a message that is set.
type setField struct {
	descriptor protoreflect.FieldDescriptor
	value      protoreflect.Value
}

func newWriter(packed map[*anypb.Any]proto.Message, size int) *writer {
	w := &writer{packed: packed, out: make([]byte, 0, size)}
	w.collect = func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		w.set = append(w.set, setField{f, v})
		return true
	}
	return w
}

func (w *writer) raw(s string) { w.out = append(w.out, s...) }

// member separates a member from those before it.
func (w *writer) member(before int) {
	if before > 0 {
		w.out = append(w.out, ',')
	}
}

func (w *writer) message(m protoreflect.Message) {
	switch value := m.Interface().(type) {
	case *anypb.Any:
		w.any(value)
	case *listenerv3.FilterChain, *listenerv3.Filter, *matcherv3.Matcher, *routev3.RouteAction, *routev3.RouteMatch:
		w.once(value, func() { w.braced(m) })
	case *durationpb.Duration:
		w.duration(value)
	case *structpb.Struct:
		w.members(value.GetFields())
	case *structpb.Value:
		w.dynamic(value)
	default:
		if m.Descriptor().FullName().Parent() == "google.protobuf" && m.Descriptor().Fields().Len() == 1 {
			w.scalar(m.Descriptor().Fields().Get(0), m.Get(m.Descriptor().Fields().Get(0))) // a wrapper is its value
			return
		}
		w.braced(m)
	}
}

func (w *writer) braced(m protoreflect.Message) {
	w.raw("{")
	w.object(m, 0)
	w.raw("}")
}

// any writes the type and then the fields of the packed message, or its value if that is no object.
func (w *writer) any(a *anypb.Any) {
	m, ok := w.packed[a]
	if !ok {
		w.raw("{}") // an Any without a type, which Envoy wants where a filter is only switched on
		return
	}
	w.raw(`{"@type":"` + a.GetTypeUrl() + `"`)
	if value := m.ProtoReflect(); value.Descriptor().FullName() == "google.protobuf.StringValue" {
		w.raw(`,"value":`)
		w.message(value)
	} else {
		w.object(value, 1)
	}
	w.raw("}")
}

// object writes the fields that are set, by number, behind the members that are there before. Range visits them in no fixed order.
func (w *writer) object(m protoreflect.Message, before int) {
	from := len(w.set)
	m.Range(w.collect)
	slices.SortFunc(w.set[from:], func(a, b setField) int { return int(a.descriptor.Number() - b.descriptor.Number()) })
	for i := from; i < len(w.set); i++ {
		w.member(before)
		before++
		w.raw(`"`)
		w.raw(w.set[i].descriptor.JSONName())
		w.raw(`":`)
		w.field(w.set[i].descriptor, w.set[i].value)
	}
	w.set = w.set[:from]
}

func (w *writer) field(f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap():
		w.mapField(f, v.Map())
	case f.IsList():
		w.raw("[")
		for i := range v.List().Len() {
			w.member(i)
			w.single(f, v.List().Get(i))
		}
		w.raw("]")
	default:
		w.single(f, v)
	}
}

func (w *writer) mapField(f protoreflect.FieldDescriptor, m protoreflect.Map) {
	if f.MapKey().Kind() != protoreflect.StringKind {
		w.fail(fmt.Errorf("field %s has keys that are not text", f.FullName()))
		return
	}
	keys := make([]string, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	w.raw("{")
	for i, key := range keys {
		w.member(i)
		w.text(key)
		w.raw(":")
		w.single(f.MapValue(), m.Get(protoreflect.ValueOfString(key).MapKey()))
	}
	w.raw("}")
}

func (w *writer) single(f protoreflect.FieldDescriptor, v protoreflect.Value) {
	if f.Message() != nil {
		w.message(v.Message())
		return
	}
	w.scalar(f, v)
}

// scalar writes 64-bit integers as text and enums by name, as ProtoJSON has it.
func (w *writer) scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case protoreflect.StringKind:
		w.text(v.String())
	case protoreflect.BytesKind:
		w.text(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.EnumKind:
		w.enum(f.Enum(), v.Enum())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		w.raw(`"` + strconv.FormatInt(v.Int(), 10) + `"`)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		w.raw(`"` + strconv.FormatUint(v.Uint(), 10) + `"`)
	case protoreflect.DoubleKind:
		w.out = strconv.AppendFloat(w.out, v.Float(), 'g', -1, 64)
	default:
		w.fail(fmt.Errorf("field %s has the kind %s, which nothing writes", f.FullName(), f.Kind()))
	}
}

func (w *writer) enum(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) {
	if value := d.Values().ByNumber(n); value != nil {
		w.text(string(value.Name()))
		return
	}
	w.out = strconv.AppendInt(w.out, int64(n), 10)
}

func (w *writer) duration(d *durationpb.Duration) {
	w.raw(`"` + strconv.FormatFloat(d.AsDuration().Seconds(), 'f', -1, 64) + `s"`)
}

func (w *writer) members(fields map[string]*structpb.Value) {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	w.raw("{")
	for i, key := range keys {
		w.member(i)
		w.text(key)
		w.raw(":")
		w.dynamic(fields[key])
	}
	w.raw("}")
}

// dynamic knows what the access log's formats are made of.
func (w *writer) dynamic(v *structpb.Value) {
	switch value := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		w.text(value.StringValue)
	case *structpb.Value_BoolValue:
		w.out = strconv.AppendBool(w.out, value.BoolValue)
	case *structpb.Value_StructValue:
		w.members(value.StructValue.GetFields())
	default:
		w.fail(fmt.Errorf("a value of type %T, which nothing writes", value))
	}
}

// text quotes; what is not plain ASCII is left to encoding/json.
func (w *writer) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			w.fail(err)
			w.out = append(w.out, quoted...)
			return
		}
	}
	w.out = append(append(append(w.out, '"'), s...), '"')
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
