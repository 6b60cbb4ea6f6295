package xds

import (
	"errors"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// builder makes the Envoy messages of one rendering.
type builder struct {
	packer
	plan *Plan
	cfg  Config

	// What every virtual host has is built once.
	actions      map[string]*routev3.Route_Route
	lastRoute    *routev3.Route
	filterSwitch *anypb.Any
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
	return &builder{packer: newPacker(), plan: p, cfg: cfg, actions: map[string]*routev3.Route_Route{}}
}

func (b *builder) files() (Files, error) {
	files := Files{
		b.resourceFile(ListenersFile, b.listeners()...),
		b.resourceFile(ClustersFile, b.clusters()...),
		b.resourceFile(RoutesFile, b.routeConfigurations()...),
	}
	stamp(files...)
	w := b.writer(b.expectedSize(BootstrapFile))
	w.message(b.bootstrap().ProtoReflect())
	b.keep(w.err)
	files = append(Files{{InConfig, BootstrapFile, append(w.out, '\n'), false}}, files...)
	return b.appendSecrets(files), b.err
}

func (b *builder) writer(size int) *writer { return newWriter(b.packed, size) }

func (b *builder) resourceFile(name string, messages ...proto.Message) File {
	w := b.writer(b.expectedSize(name))
	w.resources(messages...)
	b.keep(w.err)
	return File{InConfig, name, w.out, false}
}

// expectedSize is measured: growing a buffer to its size costs twice its size.
func (b *builder) expectedSize(name string) int {
	switch domains, rules := len(b.plan.Domains), len(b.plan.Rules); name {
	case ListenersFile:
		return 24<<10 + min(domains, maxOwnChains)*19<<10 + 330*domains + 1024*min(rules, maxOwnChains)
	case RoutesFile:
		return 4<<10 + 700*domains + 440*max(0, rules-domains)
	case ClustersFile:
		return 24 << 10
	case BootstrapFile:
		return 8 << 10
	default:
		return 1 << 10
	}
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
