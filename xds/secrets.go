package xds

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// leafSecret is the SDS name of the leaf.
const leafSecret = "leaf"

// id is stable: the file of a credential never holds another's, not even for the moment between two files' reloads.
func (c Credential) id() string {
	d := newDigest().text(strings.ToLower(c.Header)).text(c.Secret).text(c.Key).text(c.Prefix)
	return fmt.Sprintf("%016x", uint64(d))
}

// File is the name of the credential's file.
func (c Credential) File() string { return "sds-" + c.id() + ".json" }

// Credentials lists what the policy injects, each once, in a fixed order.
func (p *Plan) Credentials() []Credential { return credentials(p.headers()) }

func (p *Plan) headers() []Header {
	var out []Header
	for _, d := range p.Domains {
		out = append(out, d.Headers...)
	}
	return out
}

func credentials(headers []Header) []Credential {
	var out []Credential
	for _, h := range headers {
		if h.Credential != nil {
			out = append(out, *h.Credential)
		}
	}
	slices.SortFunc(out, func(a, b Credential) int { return cmp.Compare(a.id(), b.id()) })
	return slices.CompactFunc(out, func(a, b Credential) bool { return a.id() == b.id() })
}

// appendSecrets adds what Envoy reads by SDS and the PEM files.
func (b *builder) appendSecrets(files Files) Files {
	files = append(files, File{InTLS, UpstreamCAsFile, b.cfg.UpstreamCAs, false})
	if len(b.plan.Domains) == 0 {
		return files
	}
	files = append(files,
		File{InTLS, LeafCertFile, b.cfg.LeafCert, false},
		File{InTLS, LeafKeyFile, b.cfg.LeafKey, true},
		b.secretFile(LeafSecretFile, b.leaf()))
	for _, c := range b.plan.Credentials() {
		file := b.secretFile(c.File(), credentialSecret(c, b.cfg.Credentials[c]))
		file.Secret = true
		files = append(files, file)
	}
	return files
}

func (b *builder) secretFile(name string, s *tlsv3.Secret) File {
	b.check(s)
	return b.resourceFile(name, s)
}

// leaf names the files of the certificate; Envoy reads both again when their directory is swapped.
func (b *builder) leaf() *tlsv3.Secret {
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: b.cfg.Paths.TLS + "/" + name}}
	}
	return &tlsv3.Secret{Name: leafSecret, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: file(LeafCertFile),
		PrivateKey:       file(LeafKeyFile),
		WatchedDirectory: &corev3.WatchedDirectory{Path: b.cfg.Paths.TLS},
	}}}
}

// credentialSecret is written even without a value: Envoy keeps the old one when a file disappears, and answers 401 for
// an empty one. A line break at the end, which many Secrets have by accident, is no part of a header.
func credentialSecret(c Credential, value SecretText) *tlsv3.Secret {
	return &tlsv3.Secret{Name: c.id(), Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
		Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{
			InlineString: strings.TrimRight(string([]byte(value)), "\r\n"),
		}},
	}}}
}
