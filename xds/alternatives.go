package xds

import (
	"regexp"
	"strings"
)

// maxGroups is how many expressions are tried for one name.
const maxGroups = 64

// nameGroups are names by what becomes of them. A map would say it for each name, in 150 bytes and more; here the names
// of a group stand in one expression. Names of different groups are different.
type nameGroups struct {
	*selector
	byKey    map[string]*nameGroup
	order    []*nameGroup
	expected int // names in a group
}

// takes says whether there is room for a name of this group.
func (g *nameGroups) takes(key string) bool { return g.byKey[key] != nil || len(g.order) < maxGroups }

type nameGroup struct {
	names *alternatives
	on    *onMatch
}

func (g *nameGroups) add(key, name string, on func() *onMatch) {
	group := g.byKey[key]
	if group == nil {
		group = &nameGroup{newAlternatives(g.expected), on()}
		if g.byKey == nil {
			g.byKey = map[string]*nameGroup{}
		}
		g.byKey[key] = group
		g.order = append(g.order, group)
	}
	group.names.add(name)
}

func (g *nameGroups) branches() []*branch {
	out := make([]*branch, len(g.order))
	for i, group := range g.order {
		out[i] = when(single(g.in.name, matchesWhole(group.names.pattern()+g.dotted())), group.on)
	}
	return out
}

// alternatives is a regular expression for several names as they stand.
type alternatives struct{ out strings.Builder }

// nameLength is about what a name takes in an expression.
const nameLength = 32

func newAlternatives(count int) *alternatives {
	a := &alternatives{}
	a.out.Grow(count * nameLength)
	return a
}

func (a *alternatives) add(name string) {
	if a.out.Len() == 0 {
		a.out.WriteString("(?:")
	} else {
		a.out.WriteByte('|')
	}
	writeLiteral(&a.out, name)
}

func (a *alternatives) pattern() string {
	a.out.WriteByte(')')
	return a.out.String()
}

// literal is an expression for a text as it stands.
func literal(text string) string {
	var out strings.Builder
	writeLiteral(&out, text)
	return out.String()
}

// writeLiteral puts dots into brackets: they then need no backslash, which JSON would double.
func writeLiteral(out *strings.Builder, text string) {
	for {
		before, after, found := strings.Cut(text, ".")
		out.WriteString(regexp.QuoteMeta(before))
		if !found {
			return
		}
		out.WriteString("[.]")
		text = after
	}
}
