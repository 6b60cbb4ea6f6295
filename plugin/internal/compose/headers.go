package compose

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

const headerForm = "write DOMAIN:NAME=secret/SECRET/KEY, DOMAIN:NAME='Bearer secret/SECRET/KEY' or DOMAIN:NAME=VALUE"

// interception reads --mitm, --passthrough and --header.
func (c *Composed) interception(spec *v1alpha1.EgressPolicySpec, r Request) error {
	if len(r.MITM) == 0 {
		return c.withoutInterception(r)
	}
	mitm := &v1alpha1.MITM{Domains: r.MITM, PassthroughDomains: r.Passthrough}
	for i, domain := range r.MITM {
		c.from("spec.mitm.domains["+strconv.Itoa(i)+"]", "mitm", domain)
	}
	for i, domain := range r.Passthrough {
		c.from("spec.mitm.passthroughDomains["+strconv.Itoa(i)+"]", "passthrough", domain)
	}
	var errs []error
	for _, text := range r.Headers {
		if err := c.header(mitm, text); err != nil {
			errs = append(errs, flagError("header", hideValue(text), err))
		}
	}
	spec.MITM = mitm
	return errors.Join(errs...)
}

func (c *Composed) withoutInterception(r Request) error {
	switch {
	case len(r.Headers) > 0:
		domain, _, err := splitHeader(r.Headers[0])
		if err != nil {
			return flagError("header", hideValue(r.Headers[0]), err)
		}
		return flagError("header", hideValue(r.Headers[0]), fmt.Errorf("headers are set only where TLS is intercepted: add --mitm %s", domain))
	case len(r.Passthrough) > 0:
		return flagError("passthrough", r.Passthrough[0], errors.New("nothing is intercepted: leave it out, or add --mitm"))
	}
	return nil
}

// hideValue keeps what may be a credential out of errors: only where it comes from is shown.
func hideValue(text string) string {
	left, right, ok := strings.Cut(text, "=")
	if !ok || strings.HasPrefix(right, "secret/") {
		return text
	}
	return left + "=..."
}

// splitHeader gives the domain and the header's name; IPv6 addresses have colons too.
func splitHeader(text string) (domain, name string, err error) {
	left, _, ok := strings.Cut(text, "=")
	i := strings.LastIndexByte(left, ':')
	if !ok || i < 1 || i == len(left)-1 {
		return "", "", errors.New(headerForm)
	}
	return strings.Trim(left[:i], "[]"), left[i+1:], nil
}

func (c *Composed) header(mitm *v1alpha1.MITM, text string) error {
	domain, name, err := splitHeader(text)
	if err != nil {
		return err
	}
	_, value, _ := strings.Cut(text, "=")
	header := v1alpha1.Header{Name: name}
	match := regexp.MustCompile(`^(?:(.* ))?secret/([^/ ]+)/([^/ ]+)$`).FindStringSubmatch(value)
	switch {
	case match != nil:
		header.Prefix, header.SecretRef = match[1], &v1alpha1.SecretKeyRef{Name: match[2], Key: match[3]}
	case strings.HasPrefix(value, "secret/"):
		return errors.New("a Secret is written secret/NAME/KEY")
	case value == "":
		return errors.New("the value is empty: " + headerForm)
	default:
		header.Value = &value
	}
	at, k := mutationFor(mitm, domain)
	mitm.HeaderMutations[at].Headers = append(mitm.HeaderMutations[at].Headers, header)
	c.from(fmt.Sprintf("spec.mitm.headerMutations[%d].headers[%d]", at, k), "header", hideValue(text))
	c.from(fmt.Sprintf("spec.mitm.headerMutations[%d].domain", at), "header", hideValue(text))
	return nil
}

// mutationFor finds or makes the entry of a domain, and says which header comes next.
func mutationFor(mitm *v1alpha1.MITM, domain string) (at, next int) {
	for i := range mitm.HeaderMutations {
		if mitm.HeaderMutations[i].Domain == domain {
			return i, len(mitm.HeaderMutations[i].Headers)
		}
	}
	mitm.HeaderMutations = append(mitm.HeaderMutations, v1alpha1.HeaderMutation{Domain: domain})
	return len(mitm.HeaderMutations) - 1, 0
}
