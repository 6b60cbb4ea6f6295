package xds

import (
	"errors"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// builder makes the Envoy messages of one rendering.
type builder struct {
	packer
	plan *Plan
	cfg  Config

	// What every virtual host has is built once.
	actions      map[v1alpha1.Resolution]*routev3.Route_Route
	forbidden    *routev3.Route_DirectResponse
	anyMatch     *routev3.RouteMatch
	filterSwitch *anypb.Any
	filterOff    *anypb.Any
	direct       map[v1alpha1.Resolution]*routev3.Route_Route

	caches map[cacheKey]*dnscachev3.DnsCacheConfig // which clusters and filters share
}

// Render writes the files of a sidecar. The same plan and config give the same bytes.
//
// Errors: a policy that intercepts without a leaf, or with nothing to verify upstreams against; a message that Envoy's own validation refuses, which is a defect here.
func (p *Plan) Render(cfg Config) (Files, error) {
	if len(p.Domains) > 0 && (len(cfg.LeafCert) == 0 || len(cfg.LeafKey) == 0) {
		return nil, errors.New("rendering: the policy intercepts domains, and there is no leaf certificate")
	}
	if cfg.Families == "" {
		cfg.Families = DualStack
	}
	if cfg.Paths == (Paths{}) {
		cfg.Paths = SidecarPaths()
	}
	if len(p.Domains) > 0 && len(cfg.UpstreamCAs) == 0 && cfg.Paths.Roots == "" {
		return nil, errors.New("rendering: the policy intercepts domains, and there are no CAs to verify upstreams with")
	}
	files, err := newBuilder(p, cfg).files()
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", p.Ref, err)
	}
	return files, nil
}

func newBuilder(p *Plan, cfg Config) *builder {
	return &builder{packer: newPacker(), plan: p, cfg: cfg, actions: map[v1alpha1.Resolution]*routev3.Route_Route{}, direct: map[v1alpha1.Resolution]*routev3.Route_Route{}, caches: map[cacheKey]*dnscachev3.DnsCacheConfig{}}
}

func (b *builder) files() (Files, error) {
	listeners := b.listeners()
	files := Files{
		b.resourceFile(ListenersFile, b.listenersSize(listeners), listeners...),
		b.resourceFile(ClustersFile, clustersSize, b.clusters()...),
		b.routesFile(),
	}
	stamp(files...)
	w := b.writer(bootstrapSize)
	w.message(b.bootstrap().ProtoReflect())
	b.keep(w.err)
	files = append(Files{{InConfig, BootstrapFile, append(w.out, '\n'), false}}, files...)
	return b.appendSecrets(files), b.err
}

func (b *builder) writer(size int) *writer { return newWriter(b.packed, size) }

func (b *builder) resourceFile(name string, size int, messages ...proto.Message) File {
	w := b.writer(size)
	w.resources(messages...)
	b.keep(w.err)
	return File{InConfig, name, w.out, false}
}

// routesFile is written host by host.
func (b *builder) routesFile() File {
	w := b.writer(b.routesSize())
	w.resourceWithList(b.routeConfiguration(), "virtual_hosts", b.plan.countVirtualHosts(), func(next func()) {
		b.eachVirtualHost(func(host *routev3.VirtualHost) {
			next()
			w.virtualHost(host)
		})
	})
	b.keep(w.err)
	return File{InConfig, RoutesFile, w.out, false}
}

// Sizes of files and their parts, as measured: growing a buffer to its size costs twice its size.
const (
	bootstrapSize = 5 << 10
	clustersSize  = 10 << 10
	secretSize    = 512

	routeTableSize  = 3 << 10 // without its virtual hosts
	virtualHostSize = 2000
	wideHostSize    = 480 // one of many

	requestChainSize    = 10400 // a chain of requests
	connectionChainSize = 1700  // and one of anything else
	listenerSize        = 2 << 10
)

// routesSize is for the first virtual hosts; they let expect how much the others need.
func (b *builder) routesSize() int {
	each := virtualHostSize
	if b.plan.wide() {
		each = wideHostSize
	}
	return routeTableSize + each*min(b.plan.countVirtualHosts(), sample)
}

func (b *builder) listenersSize(listeners []proto.Message) int {
	size := listenerSize
	for _, c := range listeners[0].(*listenerv3.Listener).GetFilterChains() {
		if c.GetTransportSocket() != nil || strings.HasPrefix(c.GetName(), chainPlaintext) {
			size += requestChainSize
		} else {
			size += connectionChainSize
		}
	}
	const perName, perRule = 6, 64
	for i := range b.plan.names.atoms {
		size += len(b.plan.names.atoms[i].host.Name) + perName
	}
	return len(listeners) * (size + perRule*len(b.plan.addressRules(v1alpha1.ActionDeny)))
}

// keep the first error.
func (b *builder) keep(err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("writing: %w", err)
	}
}

// configFile is where Envoy finds a file of the configuration and notices that it changed. Kubernetes replaces a mounted
// Secret by renaming the directory behind a symbolic link, so the directory is watched, not the file.
func (b *builder) configFile(name string) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		// To wait without end is to stay closed; to begin without routes or a certificate would be to answer wrongly.
		InitialFetchTimeout: durationpb.New(0),
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path:             b.cfg.Paths.file(InConfig, name),
			WatchedDirectory: b.cfg.Paths.watched(InConfig),
		}},
	}
}
