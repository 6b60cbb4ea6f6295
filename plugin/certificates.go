package plugin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
)

// certificates are everything of a policy that is X.509.
type certificates struct {
	ca   *mitm.CA   // nil if nothing is intercepted
	leaf *mitm.Leaf // likewise
	// fresh says that ca was made just now and is not stored anywhere.
	fresh bool
	// additional are the policy's additionalCAs.
	additional mitm.Bundle
	// upstream is what Envoy verifies servers against, workload what the application trusts.
	upstream, workload mitm.Bundle
}

// certify makes the certificates of a policy. store may be nil: the CA is then thrown away after use.
func (c *chosen) certify(s *shell, store *caStore) (*certificates, error) {
	now := s.now()
	out := &certificates{}
	var err error
	if out.additional, err = c.additionalCAs(s); err != nil {
		return nil, err
	}
	roots := mitm.Roots(now)
	if len(c.plan.Domains) == 0 {
		out.upstream = mitm.WorkloadBundle(roots, nil, out.additional)
		out.workload = out.upstream
		return out, nil
	}
	if err := c.authority(s, store, out); err != nil {
		return nil, err
	}
	if err := c.issue(s, out, now); err != nil {
		return nil, err
	}
	out.upstream, err = mitm.UpstreamBundle(roots, out.ca.Chain(), out.additional)
	if err != nil {
		return nil, fmt.Errorf("spec.trust.additionalCAs: %w", err)
	}
	out.workload = mitm.WorkloadBundle(roots, out.ca.Chain()[len(out.ca.Chain())-1:], out.additional)
	return out, nil
}

// authority is the user's CA if it is given, else the stored one, else a new one.
func (c *chosen) authority(s *shell, store *caStore, out *certificates) error {
	if ref := c.spec.MITM.CASecretRef; ref != nil {
		found, err := c.userCA(ref.Name, s.now())
		if err != nil {
			return fmt.Errorf("spec.mitm.caSecretRef.name: Invalid value: %q: %w", ref.Name, err)
		}
		if found != nil {
			out.ca = found
			return nil
		}
		s.warn("spec.mitm.caSecretRef: Secret %s is not in %s: another CA takes its place here; add its file with -f", ref.Name, c.where)
	}
	var err error
	if store != nil {
		if out.ca, err = store.read(s); err != nil || out.ca != nil {
			return err
		}
	}
	out.fresh = true
	out.ca, err = mitm.Generate(s.rand, s.now(), strings.TrimPrefix(c.namespace+"/"+c.policy.GetName(), "/"))
	return err
}

// userCA is a kubernetes.io/tls Secret. It lives in netproxy's own namespace, which files do not tell.
func (c *chosen) userCA(name string, now time.Time) (*mitm.CA, error) {
	secret, err := c.secret("", name)
	if err != nil || secret == nil {
		return nil, err
	}
	for _, key := range []string{v1alpha1.CACertKey, v1alpha1.CAKeyKey} {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("the Secret has no %s, or an empty one; write a kubernetes.io/tls Secret", key)
		}
	}
	return mitm.Parse(secret.Data[v1alpha1.CACertKey], secret.Data[v1alpha1.CAKeyKey], now)
}

func (c *chosen) issue(s *shell, out *certificates, now time.Time) error {
	names := make([]string, len(c.plan.Domains))
	for i, d := range c.plan.Domains {
		names[i] = d.SAN()
	}
	leaf, err := mitm.Issue(out.ca, names, s.rand, now)
	if err != nil {
		return fmt.Errorf("spec.mitm.domains: issuing the leaf: %w", err)
	}
	for _, limit := range leaf.TooLargeFor() {
		s.warn("spec.mitm.domains: %d names make a certificate that %s refuses (it takes %d bytes); use wildcards, or split the policy", len(names), limit.Client, limit.Bytes)
	}
	out.leaf = leaf
	return nil
}

// additionalCAs reads spec.trust from the objects that were given.
func (c *chosen) additionalCAs(s *shell) (mitm.Bundle, error) {
	var out mitm.Bundle
	var errs []error
	for i := range c.spec.Trust.AdditionalCAs {
		path := field.NewPath("spec", "trust", "additionalCAs").Index(i)
		pem, err := c.caSource(s, &c.spec.Trust.AdditionalCAs[i], path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if pem == nil {
			continue
		}
		bundle, err := mitm.ParseAdditional(pem)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		out = append(out, bundle...)
	}
	if len(errs) > 0 {
		return nil, listOf(c.title()+" cannot be rendered", errors.Join(errs...))
	}
	return out, nil
}

// caSource is nil for an object that was not given.
func (c *chosen) caSource(s *shell, source *v1alpha1.CASource, path *field.Path) ([]byte, error) {
	kind, name, key := "ConfigMap", "", ""
	var data map[string][]byte
	if ref := source.ConfigMapRef; ref != nil {
		path, name, key = path.Child("configMapRef"), ref.Name, ref.Key
		found, err := c.configMap(c.namespace, name)
		if err != nil {
			return nil, field.Invalid(path.Child("name"), name, err.Error())
		}
		if found != nil {
			data = map[string][]byte{}
			for k, v := range found.Data {
				data[k] = []byte(v)
			}
		}
	} else if ref := source.SecretRef; ref != nil {
		kind, path, name, key = "Secret", path.Child("secretRef"), ref.Name, ref.Key
		found, err := c.secret(c.namespace, name)
		if err != nil {
			return nil, field.Invalid(path.Child("name"), name, err.Error())
		}
		if found != nil {
			data = found.Data
		}
	}
	if data == nil {
		s.warn("%s: %s is not in %s: its certificates are left out; add its file with -f", path, identity(kind, c.namespace, name), c.where)
		return nil, nil
	}
	if len(data[key]) == 0 {
		return nil, field.Invalid(path.Child("key"), key, kind+" "+name+" has no such key, or an empty value; write PEM certificates there")
	}
	return data[key], nil
}
