package learn

import (
	"maps"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// longestPath is what a policy's path may have (egress_types.go).
const longestPath = 1024

// pathSet is the paths of an endpoint by the methods that were used: GET and "GET,POST" are two sets.
type pathSet struct {
	methods []string
	exact   []string
	prefix  []string
	// encoded paths have %2F or %5C in them, which rules refuse unless they say so.
	encoded encodedSlashes
}

type encodedSlashes bool

// matches are the alternatives of a rule. collapsed says which directories stand for how many paths.
func matches(paths map[string]map[string]bool, limit int) (out []v1alpha1.HTTPMatch, collapsed map[string]int) {
	collapsed = map[string]int{}
	for _, set := range bySets(paths) {
		set.collapse(limit, collapsed)
		m := v1alpha1.HTTPMatch{Methods: set.methods, AllowEncodedSlashes: bool(set.encoded)}
		if !slices.Contains(set.prefix, "/") {
			for _, p := range set.exact {
				m.Paths = append(m.Paths, v1alpha1.PathMatch{Exact: &p})
			}
			for _, p := range set.prefix {
				m.Paths = append(m.Paths, v1alpha1.PathMatch{Prefix: &p})
			}
		}
		out = append(out, m)
	}
	return out, collapsed
}

func bySets(paths map[string]map[string]bool) []*pathSet {
	sets := map[string]*pathSet{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := slices.Sorted(maps.Keys(paths[path]))
		encoded := encodedSlashes(hasEncodedSlash(path))
		key := strings.Join(methods, ",")
		if encoded {
			key += " encoded"
		}
		if sets[key] == nil {
			sets[key] = &pathSet{methods: methods, encoded: encoded}
		}
		if normal, ok := writable(path); ok {
			sets[key].exact = append(sets[key].exact, normal)
		} else {
			sets[key].prefix = append(sets[key].prefix, writableDirectory(path))
		}
	}
	var out []*pathSet
	for _, key := range slices.Sorted(maps.Keys(sets)) {
		for _, list := range []*[]string{&sets[key].exact, &sets[key].prefix} {
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
		out = append(out, sets[key])
	}
	return out
}

func hasEncodedSlash(path string) bool {
	lower := strings.ToLower(path)
	return strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c")
}

// writable gives the path as a policy names it, if it can.
func writable(path string) (string, bool) {
	slashes := v1alpha1.RefuseEncodedSlashes
	if hasEncodedSlash(path) {
		slashes = v1alpha1.AllowEncodedSlashes
	}
	for strings.Contains(path, "//") { // the proxy merges them before it compares
		path = strings.ReplaceAll(path, "//", "/")
	}
	normal, err := v1alpha1.NormalizePath(path, slashes)
	ok := err == nil && strings.HasPrefix(normal, "/") && len(normal) <= longestPath &&
		!strings.ContainsFunc(normal, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`?#\`, r) })
	return normal, ok
}

// writableDirectory is the longest directory above that can be named; / is any path.
func writableDirectory(path string) string {
	for strings.Contains(path, "/") {
		path = directory(path)
		if normal, ok := writable(path); ok {
			return normal
		}
		path = strings.TrimSuffix(path, "/")
	}
	return "/"
}

// directory ends in a slash; empty for what has none.
func directory(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// collapse puts the directory with the most paths in their place, until so few are left.
func (s *pathSet) collapse(limit int, collapsed map[string]int) {
	for len(s.exact)+len(s.prefix) > limit {
		counts := map[string]int{}
		for _, p := range s.exact {
			counts[directory(p)]++
		}
		for _, p := range s.prefix {
			counts[directory(strings.TrimSuffix(p, "/"))]++
		}
		dir := fullest(counts)
		if dir == "" {
			return
		}
		below := func(p string) bool { return strings.HasPrefix(p, dir) }
		for _, p := range slices.Concat(s.exact, s.prefix) {
			if below(p) {
				collapsed[dir] += max(1, collapsed[p])
				delete(collapsed, p)
			}
		}
		s.exact = slices.DeleteFunc(s.exact, below)
		s.prefix = append(slices.DeleteFunc(s.prefix, below), dir)
	}
}

// fullest is the directory with the most entries; the deepest of equals, since it opens the least.
func fullest(counts map[string]int) string {
	best := ""
	for _, dir := range slices.Sorted(maps.Keys(counts)) {
		switch depth := strings.Count(dir, "/") - strings.Count(best, "/"); {
		case dir == "":
		case best == "", counts[dir] > counts[best], counts[dir] == counts[best] && depth > 0:
			best = dir
		}
	}
	return best
}
