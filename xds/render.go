package xds

import (
	"errors"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// builder makes the Envoy messages of one rendering.
type builder struct {
	packer
	plan *Plan
	cfg  Config
}

// Render writes the files of a sidecar. The same plan and config give the same bytes.
//
// Errors: a policy that intercepts without a leaf; a message that Envoy's own validation refuses, which is a defect here.
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
	b := &builder{plan: p, cfg: cfg}
	files, err := b.files()
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", p.Ref, err)
	}
	return files, nil
}

func (b *builder) files() (Files, error) {
	var files Files
	for _, part := range []struct {
		name string
		make func() []proto.Message
	}{
		{ListenersFile, b.listeners},
		{ClustersFile, b.clusters},
		{RoutesFile, b.routeConfigurations},
	} {
		var w writer
		if err := w.resources(part.make()...); err != nil {
			return nil, err
		}
		files = append(files, File{InConfig, part.name, w.out.Bytes(), false})
	}
	stamp(files...)
	var w writer
	if err := w.message(b.bootstrap()); err != nil {
		return nil, err
	}
	files = append(Files{{InConfig, BootstrapFile, append(w.out.Bytes(), '\n'), false}}, files...)
	files, err := b.appendSecrets(files)
	return files, errors.Join(err, b.err)
}

// configFile is where Envoy finds a file of the configuration and notices that it changed. Kubernetes replaces a mounted
// Secret by renaming the directory behind a symbolic link, so the directory is watched, not the file.
func (b *builder) configFile(name string) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		// A policy that never arrives must not keep the listener from starting closed.
		InitialFetchTimeout: durationpb.New(0),
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path:             b.cfg.Paths.Config + "/" + name,
			WatchedDirectory: &corev3.WatchedDirectory{Path: b.cfg.Paths.Config},
		}},
	}
}
