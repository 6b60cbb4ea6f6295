package xds

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// PortRange is an inclusive range of ports, 1 to 65535.
type PortRange struct{ First, Last uint16 }

// PortSet is a set of ports: sorted ranges that neither overlap nor touch. Nil means every port.
type PortSet []PortRange

const lastPort = 65535

func newPortSet(ranges []v1alpha1.PortRange) PortSet {
	if len(ranges) == 0 {
		return nil
	}
	return fillPorts(make(PortSet, 0, len(ranges)), ranges)
}

func fillPorts(set PortSet, ranges []v1alpha1.PortRange) PortSet {
	for _, r := range ranges {
		last := r.Port
		if r.EndPort != nil {
			last = *r.EndPort
		}
		set = append(set, PortRange{uint16(r.Port), uint16(last)})
	}
	return set.normalise()
}

func (s PortSet) normalise() PortSet {
	if len(s) < 2 {
		return s
	}
	slices.SortFunc(s, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	merged := s[:1]
	for _, r := range s[1:] {
		tail := &merged[len(merged)-1]
		if int(r.First) <= int(tail.Last)+1 {
			tail.Last = max(tail.Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Contains says whether the port is in the set.
func (s PortSet) Contains(port uint16) bool {
	if s == nil {
		return true
	}
	for _, r := range s {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// union is the set of ports in either; nil, every port, swallows the other.
func (s PortSet) union(o PortSet) PortSet {
	if s == nil || o == nil {
		return nil
	}
	if s.covers(o) {
		return s
	}
	return append(slices.Clone(s), o...).normalise()
}

// covers says whether each range of o is within one of s.
func (s PortSet) covers(o PortSet) bool {
	for _, b := range o {
		if !slices.ContainsFunc(s, func(a PortRange) bool { return a.First <= b.First && b.Last <= a.Last }) {
			return false
		}
	}
	return true
}

// complement lists the ports that are not in the set. Of every port it is empty, not nil.
func (s PortSet) complement() PortSet {
	rest := PortSet{}
	if s == nil {
		return rest
	}
	next := 1
	for _, r := range s {
		if int(r.First) > next {
			rest = append(rest, PortRange{uint16(next), r.First - 1})
		}
		next = int(r.Last) + 1
	}
	if next <= lastPort {
		rest = append(rest, PortRange{uint16(next), lastPort})
	}
	return rest
}

func (s PortSet) intersects(o PortSet) bool {
	if s == nil || o == nil {
		return s == nil && o == nil || len(s)+len(o) > 0
	}
	return slices.ContainsFunc(s, func(a PortRange) bool {
		return slices.ContainsFunc(o, func(b PortRange) bool { return max(a.First, b.First) <= min(a.Last, b.Last) })
	})
}

// intersection of two sets is nil only if both are every port.
func (s PortSet) intersection(o PortSet) PortSet {
	if s == nil {
		return o
	}
	if o == nil {
		return s
	}
	out := PortSet{}
	for _, a := range s {
		for _, b := range o {
			if first, last := max(a.First, b.First), min(a.Last, b.Last); first <= last {
				out = append(out, PortRange{first, last})
			}
		}
	}
	return out.normalise()
}

// String is "443, 8000-8080", or "every port".
func (s PortSet) String() string {
	if s == nil {
		return "every port"
	}
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = strconv.Itoa(int(r.First))
		if r.Last > r.First {
			parts[i] += "-" + strconv.Itoa(int(r.Last))
		}
	}
	return strings.Join(parts, ", ")
}

// pattern is a regular expression that matches exactly the decimal ports of the set. Envoy's matchers see the port as a
// string: it has no matcher for ranges of them.
func (s PortSet) pattern() string {
	parts := make([]string, 0, len(s))
	for _, r := range s {
		parts = appendRange(parts, int(r.First), int(r.Last))
	}
	return strings.Join(parts, "|")
}

// appendRange splits [first, last] where the number of digits or the leading digits change.
func appendRange(parts []string, first, last int) []string {
	for first <= last {
		// The largest block 10^k numbers that starts at first, shares all but its last k digits, and ends by last.
		block, digits := 1, 0
		for first%(block*10) == 0 && first+block*10-1 <= last {
			block *= 10
			digits++
		}
		// Blocks next to each other with the same leading digits become one class of the digit before.
		run := 1
		for lead := first / block % 10; lead+run <= 9 && first+(run+1)*block-1 <= last; {
			run++
		}
		parts = append(parts, blockPattern(first/block, run, digits))
		first += run * block
	}
	return parts
}

func blockPattern(head, run, digits int) string {
	text := strconv.Itoa(head)
	if run > 1 {
		lead := head % 10
		text = text[:len(text)-1] + "[" + strconv.Itoa(lead) + "-" + strconv.Itoa(lead+run-1) + "]"
	}
	return text + strings.Repeat("[0-9]", digits)
}
