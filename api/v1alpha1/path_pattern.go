package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
)

// PathPattern is an RE2 expression, without anchors, for every spelling of a path from NormalizePath that Envoy's
// normalisation leaves standing: it decodes escapes of unreserved characters and keeps all others with their case, so that
// /a:b arrives as /a:b, /a%3Ab or /a%3ab. The second result is false if there is one spelling only, the path itself:
// literal matching is enough then.
func PathPattern(path string) (pattern string, several bool) {
	if oneSpelling(path) {
		return regexp.QuoteMeta(path), false
	}
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%' && i+2 < len(path):
			out.WriteString(escapePattern(unhex(path[i+1])<<4 | unhex(path[i+2])))
			several = true
			i += 2
		case c == '/' || unreserved(c):
			out.WriteString(regexp.QuoteMeta(string(rune(c))))
		default:
			out.WriteString("(?:" + regexp.QuoteMeta(string(rune(c))) + "|" + escapePattern(c) + ")")
			several = true
		}
	}
	return out.String(), several
}

func oneSpelling(path string) bool {
	for i := range len(path) {
		if path[i] != '/' && !unreserved(path[i]) {
			return false
		}
	}
	return true
}

// escapePattern also takes the raw brackets: the only characters that NormalizePath wants encoded and Envoy leaves as they
// are.
func escapePattern(c byte) string {
	hex := fmt.Sprintf("%02X", c)
	pattern := "%" + eitherCase(hex[0]) + eitherCase(hex[1])
	if c == '[' || c == ']' {
		return "(?:" + regexp.QuoteMeta(string(rune(c))) + "|" + pattern + ")"
	}
	return pattern
}

func eitherCase(digit byte) string {
	upper := string(rune(digit))
	if lower := strings.ToLower(upper); lower != upper {
		return "[" + upper + lower + "]"
	}
	return upper
}
