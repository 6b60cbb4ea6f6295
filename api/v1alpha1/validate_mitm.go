package v1alpha1

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) checkMITM(path *field.Path) {
	mitm := c.spec.MITM
	if mitm == nil {
		return
	}
	domains := path.Child("domains")
	switch {
	case len(mitm.Domains) > MaxDomains:
		c.fail(field.TooMany(domains, len(mitm.Domains), MaxDomains))
		return
	case len(mitm.PassthroughDomains) > MaxDomains:
		c.fail(field.TooMany(path.Child("passthroughDomains"), len(mitm.PassthroughDomains), MaxDomains))
		return
	case len(mitm.Domains) == 0 && len(mitm.PassthroughDomains) > 0:
		c.fail(field.Required(domains, "passthroughDomains excepts names from interception, but nothing is intercepted; "+
			"name domains or remove mitm"))
	case len(mitm.Domains) == 0:
		c.fail(field.Required(domains, "nothing is intercepted; name domains or remove mitm"))
	}
	owners := c.checkDomains(mitm.Domains, domains)
	c.checkPassthrough(mitm, path)
	if mitm.CASecretRef != nil {
		c.errs = append(c.errs, validateSubdomain(mitm.CASecretRef.Name, path.Child("caSecretRef", "name"))...)
	}
	c.checkMutations(mitm, owners, path.Child("headerMutations"))
}

// domainAt is a domain with its index in mitm.domains.
type domainAt struct {
	Domain
	index int
}

// checkDomains returns the index of every domain that could be read.
func (c *checker) checkDomains(domains []string, path *field.Path) map[Domain]int {
	owners := make(map[Domain]int, len(domains))
	for i, s := range domains {
		domain, err := parseDomain(s)
		if err != nil {
			c.invalid(path.Index(i), s, err)
			continue
		}
		if first, ok := owners[domain]; ok {
			c.fail(duplicate(path.Index(i), s, sameAs("domains", first, domains)))
			continue
		}
		owners[domain] = i
		c.parsed = append(c.parsed, domainAt{domain, i})
		c.domains.add(domain)
		if domain.Wildcard && shared(domain.Name) {
			c.warn(path.Index(i), sharedWarning(domain.Name))
		}
	}
	return owners
}

func sameAs(list string, index int, values []string) string {
	return fmt.Sprintf("means the same as %s[%d] %q; remove one", list, index, values[index])
}

func (c *checker) checkPassthrough(mitm *MITM, path *field.Path) {
	seen := make(map[Host]int, len(mitm.PassthroughDomains))
	list := path.Child("passthroughDomains")
	for i, s := range mitm.PassthroughDomains {
		host, err := parseHost(s)
		if err != nil {
			c.invalid(list.Index(i), s, err)
			continue
		}
		if first, ok := seen[host]; ok {
			c.fail(duplicate(list.Index(i), s, sameAs("passthroughDomains", first, mitm.PassthroughDomains)))
			continue
		}
		seen[host] = i
		c.passthrough.add(host)
		if len(mitm.Domains) > 0 && !c.domains.meets(host) {
			c.warn(list.Index(i), fmt.Sprintf("%q is in none of mitm.domains, so that nothing changes for it; remove it", s))
		}
	}
	for _, d := range c.parsed {
		if c.passthrough.covers(d.Host()) {
			c.fail(field.Invalid(path.Child("domains").Index(d.index), mitm.Domains[d.index],
				fmt.Sprintf("passthroughDomains has all of it (%s), so that it is never intercepted; remove one of them",
					c.coveringPassthrough(d.Domain))))
		}
	}
}

func (c *checker) coveringPassthrough(domain Domain) string {
	for _, s := range c.spec.MITM.PassthroughDomains {
		if host, err := parseHost(s); err == nil && host.CoversDomain(domain) {
			return s
		}
	}
	return ""
}

// credential is what one instance of Envoy's injector stands for.
type credential struct{ secret, key, header, prefix string }

// headerOf is a header on a domain.
type headerOf struct {
	domain Domain
	header string
}

func (c *checker) checkMutations(mitm *MITM, owners map[Domain]int, path *field.Path) {
	seen := map[headerOf]bool{}
	credentials := map[credential]bool{}
	for i := range mitm.HeaderMutations {
		mutation := &mitm.HeaderMutations[i]
		at := path.Index(i)
		domain, err := c.mutatedDomain(mutation.Domain, owners)
		if err != nil {
			c.invalid(at.Child("domain"), mutation.Domain, err)
		}
		if len(mutation.Headers) == 0 {
			c.fail(field.Required(at.Child("headers"), "the mutation does nothing; name headers or remove it"))
		}
		for j := range mutation.Headers {
			header := &mutation.Headers[j]
			c.checkHeader(header, at.Child("headers").Index(j))
			key := headerOf{domain, strings.ToLower(header.Name)}
			if seen[key] && err == nil {
				c.fail(duplicate(at.Child("headers").Index(j).Child("name"), header.Name,
					fmt.Sprintf("%s gets this header already; remove one", mutation.Domain)))
			}
			seen[key] = true
			if ref := header.SecretRef; ref != nil {
				credentials[credential{ref.Name, ref.Key, key.header, header.Prefix}] = true
			}
		}
	}
	if len(credentials) > MaxCredentials {
		c.fail(field.Invalid(path, len(credentials), fmt.Sprintf("different credentials (Secret, key, header and prefix); "+
			"at most %d, since the proxy watches a file for each and the kernel limits watches; use wildcards or two policies",
			MaxCredentials)))
	}
}

// mutatedDomain finds what a mutation is for. Spelling does not matter, but an entry of its own has to exist.
func (c *checker) mutatedDomain(s string, owners map[Domain]int) (Domain, error) {
	if s == "" {
		return Domain{}, errors.New("write one of mitm.domains")
	}
	domain, err := parseDomain(s)
	if err != nil {
		return Domain{}, err
	}
	if _, ok := owners[domain]; ok {
		return domain, nil
	}
	switch {
	case c.passthrough.covers(domain.Host()):
		return domain, errors.New("passed through, so that nothing can be injected; take it out of passthroughDomains or remove the mutation")
	case c.domains.covers(domain.Host()):
		return domain, errors.New("intercepted only as part of a wildcard; add it to mitm.domains, or write the wildcard here")
	}
	return domain, errors.New("not intercepted, so that nothing can be injected; add it to mitm.domains")
}

func (c *checker) checkHeader(header *Header, path *field.Path) {
	if err := checkHeaderName(header.Name); err != nil {
		c.invalid(path.Child("name"), header.Name, err)
	}
	switch {
	case header.Value != nil && header.SecretRef != nil:
		c.fail(field.Forbidden(path.Child("secretRef"), "value and secretRef exclude each other; remove one"))
	case header.Value == nil && header.SecretRef == nil:
		c.fail(field.Required(path, "write value or secretRef"))
	case header.Value != nil:
		c.checkLiteral(header, path)
	}
	if ref := header.SecretRef; ref != nil {
		c.errs = append(c.errs, validateSubdomain(ref.Name, path.Child("secretRef", "name"))...)
		c.errs = append(c.errs, validateKey(ref.Key, path.Child("secretRef", "key"))...)
		c.checkText(header.Prefix, maxHeaderPrefix, path.Child("prefix"))
		if strings.TrimLeft(header.Prefix, " \t") != header.Prefix {
			c.fail(field.Invalid(path.Child("prefix"), field.OmitValueType{}, "begins with a space, which is lost on the way; remove it"))
		}
	}
}

func (c *checker) checkLiteral(header *Header, path *field.Path) {
	value := path.Child("value")
	if *header.Value == "" {
		c.fail(field.Required(value, "empty; write the value, or secretRef to take it from a Secret"))
	}
	c.checkText(*header.Value, maxHeaderValue, value)
	if strings.Trim(*header.Value, " \t") != *header.Value {
		c.fail(field.Invalid(value, field.OmitValueType{}, "begins or ends with a space, which is lost on the way; remove it"))
	}
	if header.Prefix != "" {
		c.fail(field.Forbidden(path.Child("prefix"), "goes with secretRef only; write it into value"))
	}
}

// checkText leaves the value out of the error: people do put credentials there.
func (c *checker) checkText(text string, limit int, path *field.Path) {
	if err := checkHeaderValue(text, limit); err != nil {
		c.invalid(path, field.OmitValueType{}, err)
	}
}
