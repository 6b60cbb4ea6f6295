package plugin

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/internal/linediff"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/webhook/render"
	"github.com/netproxy/netproxy/xds"
)

// probeFiles are the data of the probe's two Secrets, and how its configuration differs from that of the policy's pods.
type probeFiles struct {
	config, lab map[string][]byte
	differences []string
}

// render makes the Secret of the policy as the webhook does, with a CA, credentials and an upstream CA of the probe's own.
func (p *probe) render() (*probeFiles, error) {
	authority, err := lab.NewAuthority()
	if err != nil {
		return nil, err
	}
	request, err := p.request(authority.CertificatePEM())
	if err != nil {
		return nil, err
	}
	result, err := render.Secret(request)
	if err != nil {
		return nil, fmt.Errorf("rendering %s for the probe: %w", p.title(), err)
	}
	out := &probeFiles{config: result.Data}
	if out.lab, err = p.lab(authority, request.Secrets); err != nil {
		return nil, err
	}
	out.differences, err = p.differences(result.Data)
	return out, err
}

func (p *probe) request(upstreamCA []byte) (render.Request, error) {
	out := render.Request{
		Ref: p.ref(), Spec: p.spec.DeepCopy(), Secrets: render.Objects{}, ConfigMaps: render.Objects{},
		Families: p.families, PrivateRanges: p.private, Now: p.now(), Rand: p.rand,
	}
	put := func(objects render.Objects, name, key string, value []byte) {
		if objects[name] == nil {
			objects[name] = map[string][]byte{}
		}
		objects[name][key] = value
	}
	for _, credential := range p.plan.Credentials() {
		put(out.Secrets, credential.Secret, credential.Key, []byte("probe-dummy-"+lab.NewToken()))
	}
	if len(out.Spec.Trust.AdditionalCAs) == 0 {
		// There is no such object: it is given to the rendering below.
		out.Spec.Trust.AdditionalCAs = []v1alpha1.CASource{{ConfigMapRef: &v1alpha1.ConfigMapKeyRef{Name: "netproxy-probe", Key: "ca.crt"}}}
	}
	for _, source := range out.Spec.Trust.AdditionalCAs {
		if ref := source.ConfigMapRef; ref != nil {
			put(out.ConfigMaps, ref.Name, ref.Key, upstreamCA)
		} else if ref := source.SecretRef; ref != nil {
			put(out.Secrets, ref.Name, ref.Key, upstreamCA)
		}
	}
	if len(p.plan.Domains) == 0 {
		return out, nil
	}
	ca, err := mitm.Generate(p.rand, p.now(), p.namespace+"/"+p.name)
	if err != nil {
		return out, err
	}
	out.CA, out.Chains = ca, ca.Chain()
	out.Trusted = []*x509.Certificate{ca.Chain()[len(ca.Chain())-1]}
	return out, nil
}

// differences compares the probe's configuration, line by line, with what the policy renders to for its pods.
func (p *probe) differences(data map[string][]byte) ([]string, error) {
	out := []string{
		"the Internet, its servers and the resolver are the probe's own, inside of its pod; nothing leaves it",
		"certificates, and the CA that servers are verified against (" + xds.UpstreamCAsFile + "), are the probe's own",
	}
	for _, credential := range p.plan.Credentials() {
		out = append(out, fmt.Sprintf("Secret %s, key %s: a dummy is injected", credential.Secret, credential.Key))
	}
	config := xds.Config{Families: p.families, LeafCert: data[xds.LeafCertFile], LeafKey: xds.SecretText("-")}
	if len(p.spec.Trust.AdditionalCAs) > 0 {
		config.UpstreamCAs = []byte("those of the cluster")
	}
	files, err := p.plan.Render(config)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if file.Secret || file.Place == xds.InTLS {
			continue
		}
		lines, err := changedLines(file.Data, data[file.Name])
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", file.Name, err)
		}
		for _, line := range lines {
			out = append(out, path.Join(xds.SidecarPaths().Config, file.Name)+": "+line)
		}
	}
	return out, nil
}

// changedLines names each change once, with how often it is there.
func changedLines(from, to []byte) ([]string, error) {
	if bytes.Equal(from, to) {
		return nil, nil
	}
	before, err := yaml.JSONToYAML(from)
	if err != nil {
		return nil, err
	}
	after, err := yaml.JSONToYAML(to)
	if err != nil {
		return nil, err
	}
	var order []string
	count := map[string]int{}
	for i, line := range linediff.Unified("", "", string(before), string(after)) {
		// The first two lines name the files. The version is a digest of the rest.
		if i < 2 || line[0] != '-' && line[0] != '+' || strings.Contains(line, "versionInfo:") {
			continue
		}
		line = line[:1] + " " + strings.TrimSpace(line[1:])
		if count[line]++; count[line] == 1 {
			order = append(order, line)
		}
	}
	for i, line := range order {
		if n := count[line]; n > 1 {
			order[i] = fmt.Sprintf("%s (%d times)", line, n)
		}
	}
	return order, nil
}
