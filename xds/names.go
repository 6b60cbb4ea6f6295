package xds

import (
	"cmp"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// atom is a set of names that every rule and domain treats alike: one exact name, the names below a suffix that no longer
// atom covers, or every other visible name. A name belongs to its most specific atom, as in Envoy's virtual hosts.
type atom struct {
	host   *v1alpha1.Host // of a rule or domain
	rules  []int          // rules whose hosts cover it, in the policy's order
	domain int            // the intercepted domain, or -1
	// oneLabel: domain is a wildcard, which stands for one label; names deeper below the suffix are not intercepted.
	oneLabel bool
}

func (a *atom) text() string { return a.host.String() }

// nameIndex finds the atom of a name.
type nameIndex struct {
	atoms  []atom
	exact  map[string]int
	suffix map[string]int
	other  int
}

// clusterSuffixes are names that resolve inside the cluster: a Public rule accepts private addresses for them.
func clusterSuffixes() []string { return []string{"cluster.local"} }

func indexNames(p *Plan) nameIndex {
	count := p.expectedNames()
	ix := nameIndex{exact: make(map[string]int, count), suffix: map[string]int{}, atoms: make([]atom, 0, count)}
	ix.add(&v1alpha1.Host{Kind: v1alpha1.HostAny})
	for r := range p.Rules {
		for i := range p.Rules[r].Names {
			ix.add(&p.Rules[r].Names[i])
		}
	}
	for i := range p.Passed {
		ix.add(&p.Passed[i])
	}
	for i := range p.Domains {
		ix.addDomain(&p.Domains[i])
	}
	for _, name := range clusterSuffixes() {
		ix.add(&v1alpha1.Host{Kind: v1alpha1.HostSuffix, Name: name})
	}
	ix.fill(p)
	return ix
}

// expectedNames: rules are mostly for the domains, so that their names are not counted twice.
func (p *Plan) expectedNames() int {
	n := 0
	for i := range p.Rules {
		n += len(p.Rules[i].Names)
	}
	return 1 + max(n, len(p.Domains)) + len(p.Passed) + len(clusterSuffixes())
}

func domainHost(d *Domain) v1alpha1.Host {
	if d.Wildcard {
		return v1alpha1.Host{Kind: v1alpha1.HostSuffix, Name: d.Name}
	}
	return v1alpha1.Host{Kind: v1alpha1.HostExact, Name: d.Name}
}

// add gives a host its atom, unless it has one: an address is not a name, and gets none.
func (ix *nameIndex) add(h *v1alpha1.Host) {
	if _, ok := ix.at(*h); ok || h.Kind == v1alpha1.HostIP {
		return
	}
	switch h.Kind {
	case v1alpha1.HostExact:
		ix.exact[h.Name] = len(ix.atoms)
	case v1alpha1.HostSuffix:
		ix.suffix[h.Name] = len(ix.atoms)
	}
	ix.atoms = append(ix.atoms, atom{host: h, domain: -1})
}

func (ix *nameIndex) addDomain(d *Domain) {
	if d.Name == "" {
		return
	}
	host := domainHost(d)
	if _, ok := ix.at(host); !ok { // else a rule names it, as is usual
		added := host
		ix.add(&added)
	}
}

// at is the atom of a host.
func (ix *nameIndex) at(h v1alpha1.Host) (i int, ok bool) {
	switch h.Kind {
	case v1alpha1.HostExact:
		i, ok = ix.exact[h.Name]
	case v1alpha1.HostSuffix:
		i, ok = ix.suffix[h.Name]
	case v1alpha1.HostAny:
		return ix.other, len(ix.atoms) > 0
	}
	return i, ok
}

// fill gives each atom the rules and the domain that cover it.
func (ix *nameIndex) fill(p *Plan) {
	ix.fillOwn(p)
	for i := range ix.atoms {
		if ix.atoms[i].host.Kind == v1alpha1.HostExact {
			ix.cover(&ix.atoms[i])
		}
	}
	for _, i := range ix.suffixesBelowFirst() {
		ix.cover(&ix.atoms[i])
	}
	ix.fillDomains(p)
}

// fillOwn gives each atom the rules that have it among their hosts.
func (ix *nameIndex) fillOwn(p *Plan) {
	counts := make([]int32, len(ix.atoms))
	total := 0
	for r := range p.Rules {
		for _, h := range p.Rules[r].Names {
			i, _ := ix.at(h)
			counts[i]++
			total++
		}
	}
	all := make([]int, total)
	for i, n := range counts {
		ix.atoms[i].rules = carve(&all, int(n))
	}
	for r := range p.Rules {
		for _, h := range p.Rules[r].Names {
			i, _ := ix.at(h)
			a := &ix.atoms[i]
			if n := len(a.rules); n == 0 || a.rules[n-1] != r {
				a.rules = append(a.rules, r)
			}
		}
	}
}

// suffixesBelowFirst: an atom takes the own rules of those above it.
func (ix *nameIndex) suffixesBelowFirst() []int {
	out := make([]int, 0, len(ix.suffix))
	for _, i := range ix.suffix {
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(depth(&ix.atoms[b]), depth(&ix.atoms[a])) })
	return out
}

// cover adds the rules of the suffixes above the atom and of "*".
func (ix *nameIndex) cover(a *atom) {
	rules := mergeSorted(a.rules, ix.atoms[ix.other].rules)
	for parent := range parents(a.host.Name) {
		if above, ok := ix.suffix[parent]; ok {
			rules = mergeSorted(rules, ix.atoms[above].rules)
		}
	}
	a.rules = rules
}

func mergeSorted(a, b []int) []int {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// parents yields a name without its first label, without its first two, and so on.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			_, rest, ok := strings.Cut(name, ".")
			if !ok || !yield(rest) {
				return
			}
			name = rest
		}
	}
}

func (ix *nameIndex) fillDomains(p *Plan) {
	for d := range p.Domains {
		if i, ok := ix.at(domainHost(&p.Domains[d])); ok {
			ix.atoms[i].domain, ix.atoms[i].oneLabel = d, p.Domains[d].Wildcard
		}
	}
	for i := range ix.atoms {
		a := &ix.atoms[i]
		if a.domain < 0 && a.host.Kind == v1alpha1.HostExact {
			a.domain = ix.wildcardAbove(a.host.Name)
		}
		if a.domain >= 0 && coveredBy(*a.host, p.Passed) {
			a.domain = -1
		}
	}
}

// wildcardAbove is the wildcard domain that stands for the first label of the name, or -1.
func (ix *nameIndex) wildcardAbove(name string) int {
	_, parent, ok := strings.Cut(name, ".")
	if !ok {
		return -1
	}
	if i, ok := ix.suffix[parent]; ok && ix.atoms[i].oneLabel {
		return ix.atoms[i].domain
	}
	return -1
}

func coveredBy(h v1alpha1.Host, hosts []v1alpha1.Host) bool {
	return slices.ContainsFunc(hosts, func(o v1alpha1.Host) bool { return o.Covers(h) })
}

// find gives the most specific atom of a normalised name.
func (ix *nameIndex) find(name string) *atom {
	if i, ok := ix.exact[name]; ok {
		return &ix.atoms[i]
	}
	for parent := range parents(name) {
		if i, ok := ix.suffix[parent]; ok {
			return &ix.atoms[i]
		}
	}
	return &ix.atoms[ix.other]
}

// intercepts says whether TLS to the name is terminated.
func (ix *nameIndex) intercepts(a *atom, name string) bool {
	if a.domain < 0 {
		return false
	}
	return !a.oneLabel || strings.Count(name, ".") == strings.Count(a.host.Name, ".")+1
}
