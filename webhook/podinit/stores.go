package podinit

import (
	"path"
	"strings"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/mitm"
)

// kind is the format of a place.
type kind int

const (
	pemFile kind = iota
	pemDir
	javaFile
)

// place is where an image may keep certificates: a path, or a pattern of path.Match, from / without the leading slash.
type place struct {
	kind      kind
	path      string
	accept    mitm.Accept
	passwords []string
}

// defaultPlaces lists where distributions and languages look, as of crypto/x509's root_linux.go and root_bsd.go,
// ca-certificates, update-ca-trust, OpenJDK and certifi.
func defaultPlaces() []place {
	var all []place
	for _, p := range bundleFiles() {
		all = append(all, place{kind: pemFile, path: p, accept: mitm.Authorities})
	}
	for _, p := range directories() {
		all = append(all, place{kind: pemDir, path: p, accept: mitm.Authorities})
	}
	for _, p := range javaFiles() {
		all = append(all, place{kind: javaFile, path: p, accept: mitm.Authorities, passwords: javaPasswords()})
	}
	return all
}

func bundleFiles() []string {
	return []string{
		"etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine
		"etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
		"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL from 7 on
		"etc/ssl/ca-bundle.pem",                            // SUSE
		"var/lib/ca-certificates/ca-bundle.pem",            // SUSE
		"etc/pki/tls/cacert.pem",                           // OpenELEC
		"etc/ssl/cert.pem",                                 // Alpine, BSD
		"etc/ssl/certs/ca-bundle.crt",                      // Nix
		"usr/lib/ssl/cert.pem",                             // OpenSSL's default on Debian
		"usr/local/ssl/cert.pem",                           // OpenSSL's own default
		"usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"usr/local/share/certs/ca-root-nss.crt",            // FreeBSD
		"usr/lib/python3*/*-packages/certifi/cacert.pem",   // Python
		"usr/local/lib/python3*/*-packages/certifi/cacert.pem",
		"opt/venv/lib/python3*/site-packages/certifi/cacert.pem",
	}
}

// directories holds what administrators add, besides the single certificates of the distribution.
func directories() []string {
	return []string{
		"etc/ssl/certs", "etc/pki/tls/certs", "usr/local/share/ca-certificates", "usr/local/share/certs",
		"etc/pki/ca-trust/source/anchors", "etc/pki/trust/anchors", "etc/ca-certificates/trust-source/anchors",
	}
}

func javaFiles() []string {
	return []string{
		"etc/ssl/certs/java/cacerts",               // Debian
		"etc/pki/java/cacerts",                     // RHEL
		"etc/pki/ca-trust/extracted/java/cacerts",  // RHEL
		"var/lib/ca-certificates/java-cacerts",     // SUSE
		"usr/lib/jvm/*/lib/security/*cacerts",      // jssecacerts too
		"usr/lib/jvm/*/jre/lib/security/*cacerts",  // Java 8
		"opt/*/lib/security/*cacerts",              // Temurin, Corretto, Zulu
		"opt/java/*/lib/security/*cacerts",         // Temurin's images
		"usr/java/*/lib/security/*cacerts",         // Oracle
		"usr/local/openjdk*/lib/security/*cacerts", // the official images
	}
}

// javaPasswords: the convention of the JDK, and none, as the JDK's own cacerts have from 18 on.
func javaPasswords() []string { return []string{mitm.JKSPassword, ""} }

// imagePlaces are what the image itself names. Relative names are the image's working directory's.
func imagePlaces(h host) []place {
	var all []place
	add := func(k kind, value string, passwords ...string) {
		if !path.IsAbs(value) {
			value = path.Join(h.dir, value)
		}
		if value = strings.TrimPrefix(path.Clean(value), "/"); value != "" {
			all = append(all, place{k, escape(value), mitm.Anything, append(passwords, javaPasswords()...)})
		}
	}
	// REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE can name a directory as well.
	for _, name := range names.TrustVariables() {
		if value := h.getenv(name); value != "" {
			add(pemFile, value)
		}
	}
	for _, dir := range strings.Split(h.getenv("SSL_CERT_DIR"), ":") {
		if dir != "" {
			add(pemDir, dir)
		}
	}
	if home := h.getenv("JAVA_HOME"); home != "" {
		for _, below := range []string{"lib/security/cacerts", "lib/security/jssecacerts", "jre/lib/security/cacerts"} {
			add(javaFile, path.Join(home, below))
		}
	}
	if store, password := javaOptions(h); store != "" {
		add(javaFile, store, password)
	}
	return all
}

// javaOptions finds a trust store among the options that an image gives to every JVM.
func javaOptions(h host) (store, password string) {
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"} {
		for _, option := range strings.Fields(h.getenv(name)) {
			option = strings.Trim(option, `"'`)
			if v, ok := strings.CutPrefix(option, "-Djavax.net.ssl.trustStore="); ok {
				store = v
			}
			if v, ok := strings.CutPrefix(option, "-Djavax.net.ssl.trustStorePassword="); ok {
				password = v
			}
		}
	}
	return store, password
}

// escape keeps a name from being read as a pattern.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
