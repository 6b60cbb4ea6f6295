package attack

import (
	"net/url"
	"path"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catPath = "paths"

// paths reach for the denied path under the cover of the permitted one.
func paths() []Scenario {
	list := []struct {
		id, title string
		target    func(dir, denied string) string
	}{
		{"dots", "dot segments", func(dir, denied string) string { return dir + "/" + ups(dir) + denied }},
		{"encoded-dots", "encoded dot segments", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir), "..", "%2e%2e") + denied
		}},
		{"mixed-dots", "half encoded dot segments", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir), "..", ".%2E") + denied
		}},
		{"encoded-slash", "encoded slashes", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir)+"/", "/", "%2f") + strings.TrimPrefix(denied, "/")
		}},
		{"encoded-slash-upper", "encoded slashes in upper case", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir)+"/", "/", "%2F") + strings.TrimPrefix(denied, "/")
		}},
		{"double-encoded", "doubly encoded dot segments", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir), "..", "%252e%252e") + denied
		}},
		{"backslash", "backslashes", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir)+"/", "/", `\`) + strings.TrimPrefix(denied, "/")
		}},
		{"encoded-backslash", "encoded backslashes", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir)+"/", "/", "%5c") + strings.TrimPrefix(denied, "/")
		}},
		{"parameter", "dot segments with a parameter", func(dir, denied string) string {
			return dir + "/" + strings.ReplaceAll(ups(dir), "..", "..;") + denied
		}},
		{"double-slash", "doubled slashes", func(_, denied string) string { return "/" + denied }},
		{"dot", "a single dot", func(_, denied string) string { return "/." + denied }},
		{"query", "the permitted path as a query", func(dir, denied string) string { return denied + "?x=" + dir + "/" }},
		{"fragment", "the permitted path as a fragment", func(dir, denied string) string { return denied + "#" + dir + "/" }},
		{"encoded-query", "an encoded question mark", func(dir, denied string) string { return denied + "%3f" + dir + "/" }},
		{"encoded-letter", "an encoded letter in the denied path", func(_, denied string) string {
			return denied[:len(denied)-1] + "%" + hex(denied[len(denied)-1])
		}},
		{"nul", "an encoded NUL", func(dir, denied string) string { return denied + "%00" + dir }},
	}
	var out []Scenario
	for _, s := range list {
		out = append(out, Scenario{"path-" + s.id, s.title, catPath, func(e *env) error { return e.path(s.target) }})
	}
	return out
}

// path passes as long as the upstream does not get what a server would take
// for the denied path.
func (e *env) path(target func(dir, denied string) string) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	if ep.DeniedPath == "" || ep.DeniedPath == "/" {
		return errSkip("the policy has no denied path besides a permitted one")
	}
	e.out.Host = display(ep.Name)
	// The path as it is written must not be permitted for what it begins with.
	asked := target(strings.TrimSuffix(path.Dir(ep.Path), "/"), ep.DeniedPath)
	raw := e.request(ep, asked, "HTTP/1.1", lab.Field{Name: "Host", Value: ep.Name})
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: raw})
	e.out.Detail = asked
	if err := e.judge(res, "403 or 400, "+ep.DeniedPath+" is not reached", res.Outcome != lab.Timeout, ep.Name); err != nil || e.out.Result != Pass {
		return err
	}
	if seen, ok := e.seen(); ok && meaning(seen.Path) == meaning(ep.DeniedPath) {
		e.out.Result, e.out.Detail = Leak, asked+" arrived as "+seen.Path
	}
	return nil
}

// meaning is what the most lenient of servers makes of a path: parameters cut,
// unescaped once, backslashes taken for slashes, dot segments resolved.
func meaning(p string) string {
	p, _, _ = strings.Cut(p, "?")
	p, _, _ = strings.Cut(p, "#")
	if u, err := url.PathUnescape(p); err == nil {
		p = u
	}
	segments := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	p, _, _ = strings.Cut(path.Clean("/"+strings.Join(segments, "/")), "?")
	p, _, _ = strings.Cut(p, "\x00")
	return p
}

// ups leads from dir to the root: "../" without the last slash, once per segment.
func ups(dir string) string {
	n := max(strings.Count(dir, "/"), 1)
	return strings.TrimSuffix(strings.Repeat("../", n), "/")
}

func hex(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}
