package xds

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// TestWriterIsProtoJSON renders a policy that uses everything, packs what the writer took from beside each Any, and lets
// protojson write and read the same messages.
func TestWriterIsProtoJSON(t *testing.T) {
	b := newBuilder(everything(t), Config{Paths: SidecarPaths(), LeafCert: []byte("c"), LeafKey: SecretText("k")})
	messages := append(append(b.listeners(), b.clusters()...), b.routeConfiguration())
	messages = append(messages, b.bootstrap(), b.leaf(), credentialSecret(b.plan.Credentials()[0], "a\"b\\ü\n"))
	if b.err != nil {
		t.Fatal(b.err)
	}
	for _, m := range messages {
		w := b.writer(0)
		w.message(m.ProtoReflect())
		if w.err != nil {
			t.Fatal(w.err)
		}
		b.pack(t, m.ProtoReflect())
		want, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parsed(t, want), parsed(t, w.out)); diff != "" {
			t.Errorf("%s: -protojson +writer\n%s", m.ProtoReflect().Descriptor().FullName(), diff)
		}
		back := m.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(w.out, back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, back, protocmp.Transform()); diff != "" {
			t.Errorf("-built +read\n%s", diff)
		}
	}
}

// whole is a copy that stays; what it shares with others is packed first.
func (b *builder) whole(t *testing.T, host *routev3.VirtualHost) *routev3.VirtualHost {
	t.Helper()
	b.pack(t, host.ProtoReflect())
	return proto.CloneOf(host)
}

// TestRoutesFileHasItsHosts: the table that is written host by host is the one message that Envoy reads.
func TestRoutesFileHasItsHosts(t *testing.T) {
	b := newBuilder(everything(t), Config{Paths: SidecarPaths(), LeafCert: []byte("c"), LeafKey: SecretText("k")})
	config := b.routeConfiguration()
	b.eachVirtualHost(func(host *routev3.VirtualHost) {
		config.VirtualHosts = append(config.VirtualHosts, b.whole(t, host))
	})
	b.pack(t, config.ProtoReflect())
	want, err := protojson.Marshal(config)
	if err != nil || b.err != nil {
		t.Fatal(err, b.err)
	}
	var file struct{ Resources []map[string]any }
	if err := json.Unmarshal(newBuilder(b.plan, b.cfg).routesFile().Data, &file); err != nil {
		t.Fatal(err)
	}
	delete(file.Resources[0], "@type")
	if diff := cmp.Diff(parsed(t, want), any(file.Resources[0])); diff != "" {
		t.Errorf("-protojson +file\n%s", diff)
	}
}

func parsed(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// pack fills every Any below a message with what it stands for, the innermost first.
func (b *builder) pack(t *testing.T, m protoreflect.Message) {
	t.Helper()
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, ok := b.packed[a]; ok && len(a.GetValue()) == 0 {
			b.pack(t, inner.ProtoReflect())
			value, err := proto.MarshalOptions{Deterministic: true}.Marshal(inner)
			if err != nil {
				t.Fatal(err)
			}
			a.Value = value
		}
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { b.pack(t, v.Message()); return true })
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				b.pack(t, v.List().Get(i).Message())
			}
		default:
			b.pack(t, v.Message())
		}
		return true
	})
}

func everything(t *testing.T) *Plan {
	t.Helper()
	path, exact, value, end := "/v1/", "/a:b", "100% \"q\" \\", int32(9000)
	plan, err := Compile(PolicyRef{"EgressPolicy", "demo", "all"}, &v1alpha1.EgressPolicySpec{
		Egress: v1alpha1.Egress{DefaultAction: v1alpha1.ActionDeny, Rules: []v1alpha1.Rule{
			{Action: v1alpha1.ActionAllow, Audit: true, Hosts: []string{"api.example.com", "*.wild.example.com", "192.0.2.9"}, Ports: []v1alpha1.PortRange{{Port: 443}, {Port: 8000, EndPort: &end}},
				HTTP: []v1alpha1.HTTPMatch{{Methods: []string{"GET", "POST"}, Paths: []v1alpha1.PathMatch{{Prefix: &path}, {Exact: &exact}}}, {AllowEncodedSlashes: true, Paths: []v1alpha1.PathMatch{{Prefix: &path}}}}},
			{Action: v1alpha1.ActionAllow, Hosts: []string{"*"}, Resolution: v1alpha1.ResolutionClient},
			{Action: v1alpha1.ActionAllow, Hosts: []string{"intern.example.com"}, Resolution: v1alpha1.ResolutionAny},
			{Action: v1alpha1.ActionDeny, CIDRs: []string{"203.0.113.0/24", "2001:db8::/32"}, Ports: []v1alpha1.PortRange{{Port: 25}}},
			{Action: v1alpha1.ActionAllow, CIDRs: []string{"198.51.100.0/24"}},
			{Audit: true, Hosts: []string{"*.example.com"}},
		}},
		MITM: &v1alpha1.MITM{
			Domains: []string{"api.example.com", "*.wild.example.com", "192.0.2.7"}, PassthroughDomains: []string{"pinned.wild.example.com"},
			HeaderMutations: []v1alpha1.HeaderMutation{{Domain: "api.example.com", Headers: []v1alpha1.Header{
				{Name: "Authorization", SecretRef: &v1alpha1.SecretKeyRef{Name: "s", Key: "k"}, Prefix: "Bearer "}, {Name: "X-A", Value: &value}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestSecretTextIsRedacted(t *testing.T) {
	c := Config{LeafKey: SecretText("hidden"), Credentials: map[Credential]SecretText{{}: SecretText("hidden")}}
	data, err := json.Marshal(c.LeafKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"json": string(data), "%v": sprint("%v", c), "%+v": sprint("%+v", c), "%#v": sprint("%#v", c), "%s": sprint("%s", c.LeafKey), "%x": sprint("%x", c.LeafKey), "%q": sprint("%q", c.LeafKey)} {
		if strings.Contains(text, "hidden") || strings.Contains(text, "68696464656e") || strings.Contains(text, "104, 105") || !strings.Contains(text, "redacted") {
			t.Errorf("%s prints %s", name, text)
		}
	}
}

func sprint(format string, v any) string { return fmt.Sprintf(format, v) }
