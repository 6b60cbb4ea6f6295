package xds

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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

const (
	credentialFileOpens = "sds-"
	credentialFileEnds  = ".json"
)

// File is the name of the credential's file.
func (c Credential) File() string { return credentialFileOpens + c.id() + credentialFileEnds }

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
	if len(b.cfg.UpstreamCAs) > 0 {
		files = append(files, File{InTLS, UpstreamCAsFile, b.cfg.UpstreamCAs, false})
	}
	if len(b.plan.Domains) == 0 {
		return files
	}
	files = append(files,
		File{InTLS, LeafCertFile, b.cfg.LeafCert, false},
		File{InTLS, LeafKeyFile, b.cfg.LeafKey, true},
		b.secretFile(LeafSecretFile, b.leaf()))
	for _, c := range b.plan.Credentials() {
		files = append(files, b.credentialFile(c))
	}
	return files
}

func (b *builder) secretFile(name string, s *tlsv3.Secret) File {
	b.check(s)
	return b.resourceFile(name, secretSize, s)
}

// credentialFile has a version of its own, by which one can see that a sidecar runs this value.
func (b *builder) credentialFile(c Credential) File {
	value := credentialText(b.cfg.Credentials[c])
	file := b.secretFile(c.File(), credentialSecret(c, value))
	file.Secret = true
	copy(file.Data[len(revisionOpens):], b.secretVersion(c, value))
	return file
}

// secretVersion changes with the value and tells nothing about it: the key of the leaf is known to nobody who does not
// know the values too. With the credential's identity in it, equal values of two credentials do not show either.
func (b *builder) secretVersion(c Credential, value string) string {
	mac := hmac.New(sha256.New, b.cfg.LeafKey)
	mac.Write([]byte(c.id()))
	mac.Write([]byte(value))
	return hex.EncodeToString(mac.Sum(nil))[:len(revisionBlank)]
}

// Envoy's stat of the version of a secret.
const (
	secretStatOpens = "sds."
	secretStatEnds  = ".version_text"
)

// SecretVersions are the versions of the credentials, by the stat that the status page /revision shows once a sidecar
// runs them. Keys and certificates are not among them.
func (f Files) SecretVersions() map[string]string {
	out := map[string]string{}
	for _, file := range f {
		name, ok := strings.CutPrefix(file.Name, credentialFileOpens)
		if ok && file.Secret && file.Place == InConfig {
			out[secretStatOpens+strings.TrimSuffix(name, credentialFileEnds)+secretStatEnds] = file.version()
		}
	}
	return out
}

// leaf names the files of the certificate; Envoy reads both again when their directory is swapped.
func (b *builder) leaf() *tlsv3.Secret {
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: b.cfg.Paths.file(InTLS, name)}}
	}
	return &tlsv3.Secret{Name: leafSecret, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: file(LeafCertFile),
		PrivateKey:       file(LeafKeyFile),
		WatchedDirectory: b.cfg.Paths.watched(InTLS),
	}}}
}

// credentialText is without a line break at the end, which many Secrets have by accident: it is no part of a header.
func credentialText(value SecretText) string { return strings.TrimRight(string([]byte(value)), "\r\n") }

// credentialSecret is written even without a value: Envoy keeps the old one when a file disappears, and answers 401 for
// an empty one.
func credentialSecret(c Credential, value string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: c.id(), Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
		Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: value}},
	}}}
}
