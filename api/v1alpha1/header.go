package v1alpha1

import (
	"errors"
	"fmt"
	"strings"
)

// Longest header name, literal value and prefix in octets.
const (
	maxHeaderName   = 256
	maxHeaderValue  = 8192
	maxHeaderPrefix = 256
)

// checkHeaderName refuses names that are no tokens (RFC 9110, section 5.1), and headers that belong to the connection or
// decide where a request ends or goes: injecting one would let a policy smuggle requests.
func checkHeaderName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, ":"):
		return errors.New("a pseudo-header, which says where the request goes; it cannot be set")
	case !isToken(name):
		return errors.New("no header name; write letters, digits and hyphens")
	case len(name) > maxHeaderName:
		return fmt.Errorf("longer than %d characters; shorten it", maxHeaderName)
	case framing(lower):
		return errors.New("a header of the connection or of message framing; the proxy owns it, remove it")
	case strings.HasPrefix(lower, "x-envoy-"):
		return errors.New("a header that steers the proxy itself; remove it")
	}
	return nil
}

func framing(lower string) bool {
	switch lower {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
		"http2-settings":
		return true
	}
	return strings.HasPrefix(lower, "proxy-")
}

// checkHeaderValue refuses what cannot stand in a header or does not arrive as written.
func checkHeaderValue(value string, limit int) error {
	if len(value) > limit {
		return fmt.Errorf("longer than %d characters; shorten it", limit)
	}
	for _, r := range value {
		switch {
		case r == '\r' || r == '\n' || r == 0:
			return fmt.Errorf("%U would end the header; remove it", r)
		case r < ' ' && r != '\t' || r == 0x7f:
			return fmt.Errorf("control character %U; remove it", r)
		case r >= 0x80:
			return fmt.Errorf("character %U outside ASCII; encode the value as its reader expects", r)
		}
	}
	return nil
}

// isToken is token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
