// Package render makes the data of a policy's Secret. It is pure: what was read from the API server comes in, and what has to be
// written goes out.
package render

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/xds"
)

// WarnPercent is how full a Secret may be before its policy says so.
const WarnPercent = 70

// Objects are the data of Secrets, or of ConfigMaps, by name. One that does not exist is not in it.
type Objects map[string]map[string][]byte

// Request is everything that the Secret of one policy in one namespace depends on.
type Request struct {
	Ref  xds.PolicyRef
	Spec *v1alpha1.EgressPolicySpec
	// CA signs the leaf; nil if the policy intercepts nothing. Trusted are the roots that the workload has to know, Chains every
	// certificate that no upstream may be verified against.
	CA              *mitm.CA
	Trusted, Chains []*x509.Certificate
	// Stored is the data of the Secret as it is, nil if it is not there.
	Stored map[string][]byte
	// Secrets and ConfigMaps are those of the namespace that the policy refers to.
	Secrets, ConfigMaps Objects
	// RotateLeaf asks for a leaf that was issued after this time.
	RotateLeaf time.Time
	Families   xds.Families
	// PrivateRanges count as private besides the built-in ones.
	PrivateRanges []netip.Prefix
	Now           time.Time
	Rand          io.Reader
}

// Problem is something that the policy's owner has to mend. The rest of the policy works meanwhile.
type Problem struct{ Reason, Message string }

// Result is what the Secret has to hold, and what is worth knowing of it.
type Result struct {
	Data map[string][]byte
	// Revision changes with any of the data, ConfigRevision with what Envoy shows as its version.
	Revision, ConfigRevision string
	// SecretVersions are the stats that a proxy shows once it has these credentials.
	SecretVersions map[string]string
	// Leaf is nil if nothing is intercepted; LeafAction says what was done with it and why.
	Leaf       *mitm.Leaf
	LeafAction mitm.Verdict
	Problems   []Problem
	// PrivateRanges are the request's.
	PrivateRanges []netip.Prefix
	// Size counts towards the limit of a Secret, in bytes.
	Size int
}

// ErrTooLarge is wrapped by the error about a policy that does not fit into a Secret.
var ErrTooLarge = errors.New("does not fit into a Secret")

// Secret renders a policy. The same request, whose Stored is what it made before, gives the same data.
func Secret(req Request) (Result, error) {
	plan, err := xds.Compile(req.Ref, req.Spec, req.PrivateRanges...)
	if err != nil {
		return Result{}, err
	}
	w := &work{Request: req, plan: plan}
	config := xds.Config{Families: req.Families, Credentials: w.credentials()}
	additional := w.additionalCAs()
	if len(additional) > 0 {
		upstream, err := mitm.UpstreamBundle(mitm.Roots(req.Now), req.Chains, additional)
		if err != nil {
			return Result{}, fmt.Errorf("spec.trust.additionalCAs: %w", err)
		}
		config.UpstreamCAs = upstream.PEM()
	}
	if err := w.leaf(&config); err != nil {
		return Result{}, err
	}
	files, err := plan.Render(config)
	if err != nil {
		return Result{}, err
	}
	return w.finish(files, mitm.WorkloadBundle(nil, req.Trusted, additional).PEM())
}

type work struct {
	Request
	plan *xds.Plan
	out  Result
}

func (w *work) problem(reason, format string, args ...any) {
	w.out.Problems = append(w.out.Problems, Problem{reason, fmt.Sprintf(format, args...)})
}

// credentials leaves out what is missing: the proxy answers 401 then.
func (w *work) credentials() map[xds.Credential]xds.SecretText {
	out := map[xds.Credential]xds.SecretText{}
	for _, c := range w.plan.Credentials() {
		value, err := c.Value(w.Secrets[c.Secret])
		if err != nil {
			w.problem(v1alpha1.ReasonCredentialMissing, "header %s: key %s: %v; requests that need it get 401", c.Header, c.Key, err)
			continue
		}
		out[c] = value
	}
	return out
}

// additionalCAs leaves out what cannot be read: servers of that CA are then not accepted.
func (w *work) additionalCAs() mitm.Bundle {
	var out mitm.Bundle
	for i, source := range w.Spec.Trust.AdditionalCAs {
		kind, name, key, objects := "ConfigMap", "", "", w.ConfigMaps
		if ref := source.ConfigMapRef; ref != nil {
			name, key = ref.Name, ref.Key
		} else if ref := source.SecretRef; ref != nil {
			kind, name, key, objects = "Secret", ref.Name, ref.Key, w.Secrets
		}
		bundle, err := readCAs(objects[name], key)
		if err != nil {
			w.problem(v1alpha1.ReasonCAMissing, "spec.trust.additionalCAs[%d]: %s %s, key %s: %v; its certificates are not trusted", i, kind, name, key, err)
			continue
		}
		out = append(out, bundle...)
	}
	return out
}

func readCAs(data map[string][]byte, key string) (mitm.Bundle, error) {
	switch {
	case data == nil:
		return nil, errors.New("does not exist; create it")
	case len(data[key]) == 0:
		return nil, errors.New("there is no such key, or it is empty; write PEM certificates there")
	}
	return mitm.ParseAdditional(data[key])
}

// leaf keeps the stored one as long as it is good.
func (w *work) leaf(config *xds.Config) error {
	if len(w.plan.Domains) == 0 {
		return nil
	}
	if w.CA == nil {
		return errors.New("the policy intercepts, and there is no CA")
	}
	names := make([]string, len(w.plan.Domains))
	for i, d := range w.plan.Domains {
		names[i] = d.SAN()
	}
	stored := mitm.StoredPair{Presence: mitm.Absent}
	if len(w.Stored[xds.LeafCertFile])+len(w.Stored[xds.LeafKeyFile]) > 0 {
		stored = mitm.StoredPair{Presence: mitm.Present, CertPEM: w.Stored[xds.LeafCertFile], KeyPEM: w.Stored[xds.LeafKeyFile]}
	}
	verdict, err := mitm.DecideLeaf(w.Now, w.CA, stored, names)
	if err != nil {
		return err
	}
	if err := w.takeLeaf(verdict, stored, names); err != nil {
		return err
	}
	key, err := w.out.Leaf.Key().RevealPEM()
	if err != nil {
		return err
	}
	config.LeafCert, config.LeafKey = w.out.Leaf.CertificatePEM(), key
	return nil
}

// reasonRequested is for a leaf that somebody asked to replace.
const reasonRequested mitm.Reason = "Requested"

func (w *work) takeLeaf(verdict mitm.Verdict, stored mitm.StoredPair, names []string) error {
	var err error
	if verdict.Action == mitm.Keep {
		if w.out.Leaf, err = mitm.ParseLeaf(stored.CertPEM, stored.KeyPEM); err != nil {
			return err
		}
		if issued := w.out.Leaf.Issued(); w.RotateLeaf.After(issued) && !w.Now.Before(w.RotateLeaf) {
			verdict = mitm.Verdict{Action: mitm.Create, Reason: reasonRequested, Message: "asked for at " + w.RotateLeaf.Format(time.RFC3339)}
		}
	}
	if verdict.Action == mitm.Create {
		if w.out.Leaf, err = mitm.Issue(w.CA, names, w.Rand, w.Now); err != nil {
			return fmt.Errorf("spec.mitm.domains: issuing the leaf: %w", err)
		}
	}
	w.out.LeafAction = verdict
	return nil
}

func (w *work) finish(files xds.Files, bundle []byte) (Result, error) {
	out := w.out
	out.PrivateRanges = w.PrivateRanges
	out.ConfigRevision, out.SecretVersions = files.Revision(), files.SecretVersions()
	out.Data = map[string][]byte{v1alpha1.BundleKey: bundle}
	for _, file := range files {
		out.Data[file.Name] = file.Data
	}
	for name, data := range out.Data {
		out.Size += len(name) + len(data)
	}
	switch percent := out.Size * 100 / xds.SecretLimit; {
	case out.Size > xds.SecretLimit:
		return Result{}, fmt.Errorf("the rendered policy %w: it has %d bytes, and a Secret holds %d; use fewer domains, rules or additional CAs, or split the policy", ErrTooLarge, out.Size, xds.SecretLimit)
	case percent >= WarnPercent:
		out.Problems = append(out.Problems, Problem{v1alpha1.ReasonNearlyTooLarge, fmt.Sprintf("the rendered policy takes %d %% of what a Secret holds; split it before it grows", percent)})
	}
	out.Revision = revision(out.Data)
	return out, nil
}

// revision is a hash of all the data. It tells nothing about keys and credentials, as the leaf's key is random.
func revision(data map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%d %s %d ", len(name), name, len(data[name]))
		h.Write(data[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
