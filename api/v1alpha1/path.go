package v1alpha1

import (
	"errors"
	"fmt"
	"strings"
)

// NormalizePath reads a path of a policy and returns what it means: percent-encoded characters that may stand in a path as
// they are (pchar of RFC 3986, section 3.3) are decoded, the remaining escapes are in upper case. Envoy's normalize_path
// decodes unreserved characters only, so that the other spellings reach rules: see PathPattern. Whatever normalize_path
// and merge_slashes would remove from a request is an error, since such a path never matches: dot segments, double
// slashes, backslashes, queries and fragments. So is everything that upstreams read differently: control characters, raw
// or encoded, and encoded slashes and backslashes, which AllowEncodedSlashes takes.
func NormalizePath(s string, slashes EncodedSlashes) (string, error) {
	path, err := normalizePath(s, slashes)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", s, err)
	}
	return path, nil
}

// EncodedSlashes says what becomes of %2F and %5C.
type EncodedSlashes int

// What becomes of encoded slashes.
const (
	RefuseEncodedSlashes EncodedSlashes = iota
	AllowEncodedSlashes
)

// EncodedSlashes is the entry's choice.
func (m *HTTPMatch) EncodedSlashes() EncodedSlashes {
	if m.AllowEncodedSlashes {
		return AllowEncodedSlashes
	}
	return RefuseEncodedSlashes
}

func normalizePath(s string, slashes EncodedSlashes) (string, error) {
	if !strings.HasPrefix(s, "/") {
		return "", errors.New("must begin with /; add it")
	}
	path, err := decodePath(s, slashes)
	if err != nil {
		return "", err
	}
	if strings.Contains(path, "//") {
		return "", errors.New("double slash, which requests lose by normalisation; write one")
	}
	// An encoded slash that is let through ends a segment for the upstream that decodes it.
	decoded := strings.ReplaceAll(strings.ReplaceAll(path, "%2F", "/"), "%5C", "/")
	for segment := range strings.SplitSeq(decoded, "/") {
		if dotSegment(segment) {
			return "", fmt.Errorf("segment %q, which requests lose by normalisation; write the path without it", segment)
		}
	}
	return path, nil
}

// dotSegment also knows segments that become one when parameters are cut off (CVE-2021-29492 and its kin).
func dotSegment(segment string) bool {
	name, _, _ := strings.Cut(segment, ";")
	return name == "." || name == ".."
}

func decodePath(s string, slashes EncodedSlashes) (string, error) {
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			if err := checkPathByte(s[i]); err != nil {
				return "", err
			}
			out.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return "", errors.New("% without two hexadecimal digits; write %25 for a percent sign")
		}
		escape := strings.ToUpper(s[i : i+3])
		c := unhex(escape[1])<<4 | unhex(escape[2])
		if err := checkEncoded(c, escape, slashes); err != nil {
			return "", err
		}
		if pathChar(c) {
			escape = string(rune(c))
		}
		out.WriteString(escape)
		i += 2
	}
	return out.String(), nil
}

func checkPathByte(c byte) error {
	switch {
	case c == '?' || c == '#':
		return fmt.Errorf("%q begins a query or fragment, which rules do not see; leave it and what follows out", rune(c))
	case c < ' ' || c == 0x7f:
		return fmt.Errorf("control character %U; remove it", rune(c))
	case c == '\\':
		return errors.New("backslash; write /")
	case c >= 0x80:
		return errors.New("character outside ASCII; write it percent-encoded")
	case c != '/' && !pathChar(c):
		return fmt.Errorf("character %q; write it percent-encoded as %%%02X", rune(c), c)
	}
	return nil
}

func checkEncoded(c byte, escape string, slashes EncodedSlashes) error {
	switch {
	case c < ' ' || c == 0x7f:
		return fmt.Errorf("encoded control character %s; remove it", escape)
	case (c == '/' || c == '\\') && slashes == RefuseEncodedSlashes:
		return fmt.Errorf("encoded slash %s; write / or set allowEncodedSlashes: true on this http entry", escape)
	}
	return nil
}

// pathChar is pchar of RFC 3986, section 3.3, without escapes.
func pathChar(c byte) bool { return unreserved(c) || strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

func unreserved(c byte) bool {
	return alphanumeric(c) || strings.IndexByte("-._~", c) >= 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unhex takes an upper-case digit.
func unhex(c byte) byte {
	if c >= 'A' {
		return c - 'A' + 10
	}
	return c - '0'
}
