package podinit

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/netproxy/netproxy/api/names"
	"github.com/netproxy/netproxy/mitm"
)

// maxNotes keeps an image full of broken files from filling the log.
const maxNotes = 20

// runTrust writes the stores of the image it runs in.
func runTrust(h host, o trustOptions) error {
	bundle, err := buildBundle(h, o.policyCAs)
	if err != nil {
		return err
	}
	jks, err := bundle.JKS()
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{names.BundleFile: bundle.PEM(), names.TrustStoreFile: jks} {
		if err := writeFile(filepath.Join(o.out, name), bytes.NewReader(data), modeFile); err != nil {
			return fmt.Errorf("write trust store: %w", err)
		}
	}
	return nil
}

// buildBundle is the public roots, the CAs of the policy, and what the image had besides.
func buildBundle(h host, policyCAs string) (mitm.Bundle, error) {
	data, err := readBounded(h.root, strings.TrimPrefix(policyCAs, "/"))
	if err != nil {
		return nil, fmt.Errorf("read the CAs of the policy: %w", err)
	}
	var policy []*x509.Certificate
	// Empty: all that the policy has are additional CAs, and those are missing. Its status says so.
	if len(bytes.TrimSpace(data)) > 0 {
		policy, err = mitm.ParseCertificates(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read the CAs of the policy from %s: %w", policyCAs, err)
	}
	image := collectImage(h)
	roots := mitm.Roots(h.now)
	bundle := mitm.WorkloadBundle(roots, policy, nil).WithImage(image)
	fmt.Fprintf(h.log, "trusted: %d public roots, %d CAs of the policy, %d certificates of the image\n", len(roots), len(policy), len(image))
	return bundle, nil
}

// collectImage reads what the image names before the usual places, as of the former it takes more.
func collectImage(h host) mitm.Bundle {
	c := &collector{host: h, store: mitm.NewImageStore(), seen: map[string]bool{}}
	c.collect(imagePlaces(h))
	c.collect(defaultPlaces())
	for i, note := range c.notes {
		if i == maxNotes {
			fmt.Fprintf(h.log, "and %d more\n", len(c.notes)-i)
			break
		}
		fmt.Fprintln(h.log, "left out:", note)
	}
	return c.store.Anchors()
}
