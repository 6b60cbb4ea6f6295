package linediff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnified(t *testing.T) {
	numbers := func(from, to int) string {
		var b strings.Builder
		for i := from; i <= to; i++ {
			b.WriteString(strings.Repeat("x", i) + "\n")
		}
		return b.String()
	}
	for _, tc := range []struct {
		name, from, to string
		want           []string
	}{
		{"equal", "a\nb\n", "a\nb\n", nil},
		{"both empty", "", "", nil},
		{"new", "", "a\n", []string{"--- old", "+++ new", "@@ -1,0 +1,1 @@", "+a"}},
		{"changed", "a\nb\nc\n", "a\nB\nc\n", []string{"--- old", "+++ new", "@@ -1,3 +1,3 @@", " a", "-b", "+B", " c"}},
		{"far apart", "first\n" + numbers(1, 12) + "last\n", "FIRST\n" + numbers(1, 12) + "LAST\n", []string{
			"--- old", "+++ new", "@@ -1,4 +1,4 @@", "-first", "+FIRST", " x", " xx", " xxx",
			"@@ -11,4 +11,4 @@", " " + strings.Repeat("x", 10), " " + strings.Repeat("x", 11), " " + strings.Repeat("x", 12), "-last", "+LAST",
		}},
		{"moved", "a\nb\n", "b\na\n", []string{"--- old", "+++ new", "@@ -1,2 +1,2 @@", "-a", " b", "+a"}},
	} {
		if diff := cmp.Diff(tc.want, Unified("old", "new", tc.from, tc.to)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// FuzzUnified: taking the removed lines gives the old text, taking the added ones the new.
func FuzzUnified(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Fuzz(func(t *testing.T, from, to string) {
		a, b := split(from), split(to)
		var gotA, gotB []string
		for _, l := range compare(a, b) {
			if l.Op != Added {
				gotA = append(gotA, l.Text)
			}
			if l.Op != Removed {
				gotB = append(gotB, l.Text)
			}
		}
		if strings.Join(a, "\n") != strings.Join(gotA, "\n") || strings.Join(b, "\n") != strings.Join(gotB, "\n") {
			t.Errorf("%q and %q become %q and %q", from, to, gotA, gotB)
		}
	})
}
