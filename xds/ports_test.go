package xds

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// TestPortPattern compares the pattern with the set on every port.
func TestPortPattern(t *testing.T) {
	end := func(n int32) *int32 { return &n }
	for _, ranges := range [][]v1alpha1.PortRange{
		{{Port: 443}},
		{{Port: 1, EndPort: end(65535)}},
		{{Port: 6443, EndPort: end(8000)}},
		{{Port: 9, EndPort: end(10)}, {Port: 65530, EndPort: end(65535)}},
		{{Port: 80}, {Port: 8080}, {Port: 8081, EndPort: end(8090)}},
		{{Port: 1, EndPort: end(1023)}},
		{{Port: 199, EndPort: end(20001)}},
	} {
		set := newPortSet(ranges)
		pattern := regexp.MustCompile("^(?:" + set.pattern() + ")$")
		for port := range 70000 {
			want := port >= 1 && port <= 65535 && set.Contains(uint16(port))
			if got := pattern.MatchString(strconv.Itoa(port)); got != want {
				t.Fatalf("%s: port %d: pattern %q says %v", set, port, set.pattern(), got)
			}
		}
	}
}

func TestPortSetAlgebra(t *testing.T) {
	end := int32(8000)
	set := newPortSet([]v1alpha1.PortRange{{Port: 443}, {Port: 6443, EndPort: &end}, {Port: 7000}, {Port: 442}})
	if got, want := set.String(), "442-443, 6443-8000"; got != want {
		t.Errorf("set is %q, want %q", got, want)
	}
	rest := set.complement()
	for port := 1; port <= lastPort; port++ {
		p := uint16(port)
		if set.Contains(p) == rest.Contains(p) {
			t.Fatalf("port %d is in both or neither of %s and %s", p, set, rest)
		}
	}
	if both := set.intersection(rest); both == nil || len(both) != 0 {
		t.Errorf("a set meets its complement in %s", both)
	}
	if all := set.union(rest); len(all) != 1 || all[0] != (PortRange{1, lastPort}) {
		t.Errorf("a set and its complement are %s", all)
	}
}
