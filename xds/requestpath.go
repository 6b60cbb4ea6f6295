package xds

import (
	"fmt"
	"regexp"
	"strings"
)

// Patterns over :path, query included, which Go and Envoy read alike (RE2).
const (
	// encodedSlashPattern finds %2F and %5C before the query.
	encodedSlashPattern = `[^?#]*%(2[fF]|5[cC]).*`
	// climbingPattern finds dot segments next to an encoded slash: Envoy's normalisation leaves them, and an upstream that
	// decodes the slash climbs out of the path that the rule allows.
	climbingPattern = `[^?#]*(/|%2[fF]|%5[cC])\.\.?([/;%?#].*)?`
)

// requestPath is the path of a request as Envoy's rules see it: normalize_path (RFC 3986, as Chromium's URL library does
// it), then merge_slashes, without query and fragment.
type requestPath struct {
	text         string
	encodedSlash bool
	climbs       bool // see climbingPattern
	bad          bool // Envoy answers 400
}

func newRequestPath(raw string) requestPath {
	if raw == "" {
		raw = "/"
	}
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	if !strings.HasPrefix(raw, "/") {
		return requestPath{text: raw, bad: true}
	}
	text, ok := canonicalPath(raw)
	p := requestPath{text: mergeSlashes(removeDots(text)), bad: !ok}
	p.encodedSlash = wholeMatch(encodedSlashPattern, p.text)
	p.climbs = p.encodedSlash && wholeMatch(climbingPattern, p.text)
	return p
}

func wholeMatch(pattern, text string) bool {
	ok, err := regexp.MatchString("^(?:"+pattern+")$", text)
	return err == nil && ok
}

// canonicalPath decodes %41 to A, leaves escapes of reserved characters with their case, and escapes what may not stand in
// a path. Backslashes become slashes. What is not ASCII, and %00, is refused.
func canonicalPath(path string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\':
			out.WriteByte('/')
		case c >= 0x80:
			return "", false
		case c == '%':
			n, ok := writeEscape(&out, path[i:])
			if !ok {
				return "", false
			}
			i += n - 1
		case c <= ' ' || strings.IndexByte("\"<>^`{|}\x7f", c) >= 0:
			fmt.Fprintf(&out, "%%%02X", c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), true
}

// writeEscape returns how many bytes it has read.
func writeEscape(out *strings.Builder, s string) (int, bool) {
	if len(s) < 3 {
		out.WriteByte('%')
		return 1, true
	}
	v, ok := unhexPair(s[1], s[2])
	switch {
	case !ok:
		out.WriteByte('%')
		return 1, true
	case v == 0:
		return 0, false
	case isUnreserved(v):
		out.WriteByte(v)
	default:
		out.WriteString(s[:3])
	}
	return 3, true
}

func unhexPair(a, b byte) (byte, bool) {
	hi, ok1 := unhex(a)
	lo, ok2 := unhex(b)
	return hi<<4 | lo, ok1 && ok2
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// removeDots is RFC 3986, section 5.2.4; a dot segment may have parameters.
func removeDots(path string) string {
	segments := strings.Split(path, "/")
	out := segments[:0:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch name, _, _ := strings.Cut(s, ";"); name {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return strings.Join(out, "/")
}

func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}
