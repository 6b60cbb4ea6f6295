package xds

import (
	"strings"
)

// requestPath is the path of a request as Envoy's rules see it: normalize_path (RFC 3986, as Chromium's URL library does
// it), then merge_slashes, without query and fragment.
type requestPath struct {
	text         string
	encodedSlash bool
	bad          bool // Envoy answers 400
}

func newRequestPath(raw string) requestPath {
	if raw == "" {
		raw = "/"
	}
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	if raw != "*" && !strings.HasPrefix(raw, "/") {
		return requestPath{text: raw, bad: true}
	}
	p := requestPath{encodedSlash: hasEncodedSlash(raw)}
	text, ok := decodeUnreserved(raw)
	p.text, p.bad = mergeSlashes(removeDots(text)), !ok
	return p
}

func hasEncodedSlash(path string) bool {
	lower := strings.ToLower(path)
	return strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c")
}

// decodeUnreserved decodes %41 to A and leaves what is reserved; backslashes become slashes.
func decodeUnreserved(path string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '\\' {
			c = '/'
		}
		if c == '%' && i+2 < len(path) {
			if v, ok := unhexPair(path[i+1], path[i+2]); ok {
				if v == 0 {
					return "", false
				}
				if isUnreserved(v) {
					out.WriteByte(v)
				} else {
					out.WriteString(path[i : i+3])
				}
				i += 2
				continue
			}
		}
		out.WriteByte(c)
	}
	return out.String(), true
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

// removeDots is RFC 3986, section 5.2.4.
func removeDots(path string) string {
	segments := strings.Split(path, "/")
	out := segments[:0:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
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
