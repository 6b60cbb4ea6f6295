package xds

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// portClass is a set of ports on which the same deny rules hold for the addresses of resolved names. Each class has DNS
// caches and clusters of its own, since Envoy filters addresses per cache. A policy without port-limited deny rules for
// addresses has one class.
type portClass struct {
	index  int
	ports  PortSet
	denied []netip.Prefix
}

// suffix distinguishes the names of what belongs to a class.
func (c portClass) suffix() string {
	if c.index == 0 {
		return ""
	}
	return "@" + strconv.Itoa(c.index)
}

func (p *Plan) classOf(port uint16) portClass {
	i := slices.IndexFunc(p.classes, func(c portClass) bool { return c.ports.Contains(port) })
	return p.classes[max(i, 0)]
}

func (p *Plan) portClasses() []portClass {
	var denies []*Rule
	var starts []int
	for _, r := range p.addressRules(v1alpha1.ActionDeny) {
		if len(r.Prefixes) == 0 {
			continue
		}
		denies = append(denies, r)
		for _, ports := range r.Ports {
			starts = append(starts, int(ports.First), int(ports.Last)+1)
		}
	}
	if len(starts) == 0 {
		return []portClass{{denied: deniedOn(denies, 1)}}
	}
	return groupClasses(denies, append(starts, 1))
}

func groupClasses(denies []*Rule, starts []int) []portClass {
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var out []portClass
	for i, first := range starts {
		if first > lastPort {
			break
		}
		last := lastPort
		if i+1 < len(starts) {
			last = starts[i+1] - 1
		}
		out = addInterval(out, PortRange{uint16(first), uint16(last)}, deniedOn(denies, uint16(first)))
	}
	return out
}

func addInterval(classes []portClass, ports PortRange, denied []netip.Prefix) []portClass {
	for i := range classes {
		if slices.Equal(classes[i].denied, denied) {
			classes[i].ports = classes[i].ports.union(PortSet{ports})
			return classes
		}
	}
	return append(classes, portClass{index: len(classes), ports: PortSet{ports}, denied: denied})
}

func deniedOn(denies []*Rule, port uint16) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range denies {
		if r.Ports.Contains(port) {
			out = append(out, r.Prefixes...)
		}
	}
	return out
}

func overlap(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(x netip.Prefix) bool {
		return slices.ContainsFunc(b, func(y netip.Prefix) bool { return x.Overlaps(y) })
	})
}
