package v1alpha1

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Lengths of DNS names in octets (RFC 1035, section 2.3.4), without the root's.
const (
	maxName  = 253
	maxLabel = 63
)

// idnaProfile is UTS #46, non-transitional, with mapping of case and width, as browsers look names up. It does not judge
// hyphens and ASCII characters: names such as r3---sn-x.googlevideo.com and _acme.example.com exist, and checkName judges.
func idnaProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.CheckHyphens(false),
		idna.StrictDomainName(false))
}

// NormalizeName reads one name as a policy or a client writes it and returns what it means: A-labels in lower case
// without the trailing dot. Addresses, in whatever notation, and ports are errors.
func NormalizeName(s string) (string, error) {
	name, err := normalizeName(s)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", s, err)
	}
	return name, nil
}

// normalizeName is NormalizeName with errors that do not repeat the value.
func normalizeName(s string) (string, error) {
	if err := checkRaw(s); err != nil {
		return "", err
	}
	if !plainASCII(s) {
		mapped, err := idnaProfile().ToASCII(s)
		if err != nil {
			return "", errors.New("no internationalised name (IDNA) has this form; write the name as it is registered")
		}
		s = mapped
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if err := checkName(name); err != nil {
		return "", err
	}
	return name, nil
}

// checkRaw refuses what is surely not a name, with the likely reason.
func checkRaw(s string) error {
	switch {
	case s == "":
		return errors.New("empty; write a name or leave the entry out")
	case strings.Contains(s, "://"):
		return errors.New("a URL; write only its host")
	case len(s) > 4*maxName:
		return errors.New("longer than a name can be; use at most 253 characters")
	case !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError):
		return errors.New("not UTF-8; write the name as it is registered (IDNA)")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("control character %U; remove it", r)
		}
	}
	if isAddress(s) {
		return errors.New("an address; a name is needed here")
	}
	return nil
}

// plainASCII reports whether s needs no IDNA: only ASCII and no A-label that would have to be checked.
func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	lower := strings.ToLower(s)
	return !strings.HasPrefix(lower, "xn--") && !strings.Contains(lower, ".xn--")
}

// checkName judges a name in ASCII and lower case without trailing dot.
func checkName(name string) error {
	if name == "" {
		return errors.New("only a dot; write a name")
	}
	if len(name) > maxName {
		return fmt.Errorf("%d characters; a name has at most %d", len(name), maxName)
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
		last = label
	}
	if numeric(last) {
		return errors.New("ends in a number, which some clients read as an IPv4 address; write the address as four decimal numbers")
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("empty label; remove the extra dot")
	case len(label) > maxLabel:
		return fmt.Errorf("label %q has %d characters; a label has at most %d", label, len(label), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("label %q begins or ends with a hyphen; remove it", label)
	}
	for i := range len(label) {
		if !nameByte(label[i]) {
			return badNameByte(label[i])
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func badNameByte(c byte) error {
	switch c {
	case ':':
		return errors.New("a port does not belong here; use ports")
	case '*':
		return errors.New("a wildcard is \"*.\" at the beginning and nothing else; write *.example.com")
	case '/':
		return errors.New("a path or prefix length does not belong here; write only the host")
	case '@':
		return errors.New("user information does not belong here; write only the host")
	case '[', ']':
		return errors.New("brackets belong around a whole IPv6 address only; remove them")
	}
	return fmt.Errorf("character %q; names have letters, digits, hyphens and underscores", rune(c))
}

// numeric reports whether a last label makes the name an IPv4 address for parsers like inet_aton and browsers (WHATWG
// URL, "ends in a number").
func numeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}
