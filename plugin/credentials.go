package plugin

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/xds"
)

// credentials looks the policy's credentials up in the Secrets that were given. A Secret that was not given is advice: its
// requests get 401, and the rest of the policy can be looked at. One that was given without the value is a mistake. Values
// are never part of what is printed.
func (c *chosen) credentials(s *shell) (map[xds.Credential]xds.SecretText, error) {
	out := map[xds.Credential]xds.SecretText{}
	var errs []error
	for _, credential := range c.plan.Credentials() {
		path := c.credentialField(credential)
		secret, err := c.secret(c.namespace, credential.Secret)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(path.Child("name"), credential.Secret, err.Error()))
			continue
		case secret == nil:
			s.warn("%s: %s is not in %s: requests that need it will get 401; add its file with -f", path, identity("Secret", c.namespace, credential.Secret), c.where)
			continue
		}
		value, err := credential.Value(secret.Data)
		if err != nil {
			errs = append(errs, field.Invalid(path.Child("key"), credential.Key, err.Error()))
			continue
		}
		out[credential] = value
	}
	if len(errs) > 0 {
		return nil, listOf(c.title()+" cannot be rendered", errors.Join(errs...))
	}
	return out, nil
}

// credentialField is the first secretRef that means the credential.
func (c *chosen) credentialField(want xds.Credential) *field.Path {
	for i, m := range c.spec.MITM.HeaderMutations {
		for k, h := range m.Headers {
			if ref := h.SecretRef; ref != nil && ref.Name == want.Secret && ref.Key == want.Key && h.Prefix == want.Prefix && strings.EqualFold(h.Name, want.Header) {
				return headerField(i, k).Child("secretRef")
			}
		}
	}
	return field.NewPath("spec", "mitm", "headerMutations")
}

func headerField(mutation, header int) *field.Path {
	return field.NewPath("spec", "mitm", "headerMutations").Index(mutation).Child("headers").Index(header)
}
