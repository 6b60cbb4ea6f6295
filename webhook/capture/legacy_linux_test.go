package capture

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestLegacyConflicts(t *testing.T) {
	const v4, v6 = "thread-self/net/ip_tables_names", "thread-self/net/ip6_tables_names"
	cases := map[string]struct {
		files   map[string]string
		entries uint32
		want    string
	}{
		"no module":        {nil, 0, ""},
		"no table":         {map[string]string{v4: "", v6: ""}, 99, ""},
		"empty nat":        {map[string]string{v4: "nat\n"}, 5, ""},
		"nat with a rule":  {map[string]string{v4: "nat\n"}, 6, "iptables-legacy, table nat"},
		"nat for IPv6":     {map[string]string{v4: "filter\n", v6: "filter\nnat\n"}, 6, "ip6tables-legacy, table nat"},
		"empty mangle":     {map[string]string{v4: "mangle\n"}, 6, ""},
		"all":              {map[string]string{v4: "raw\nmangle\nnat\n"}, 7, "iptables-legacy, table nat; iptables-legacy, table mangle; iptables-legacy, table raw"},
		"filter is no NAT": {map[string]string{v4: "filter\nsecurity\n"}, 99, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			proc := fstest.MapFS{}
			for path, text := range c.files {
				proc[path] = &fstest.MapFile{Data: []byte(text)}
			}
			found, err := legacyConflicts(proc, func(domain, level int, _ string) (uint32, error) {
				if (domain == unix.AF_INET) != (level == unix.SOL_IP) {
					t.Errorf("domain %d with level %d", domain, level)
				}
				return c.entries, nil
			})
			var names []string
			for _, f := range found {
				names = append(names, f.Where)
			}
			if got := strings.Join(names, "; "); err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	failing := func(int, int, string) (uint32, error) { return 0, unix.EPERM }
	if _, err := legacyConflicts(fstest.MapFS{v4: &fstest.MapFile{Data: []byte("nat\n")}}, failing); !errors.Is(err, unix.EPERM) {
		t.Errorf("error %v", err)
	}
}

// TestKernelEntries asks the kernel of this machine, if it has the old tables here.
func TestKernelEntries(t *testing.T) {
	data, err := fs.ReadFile(os.DirFS("/proc"), "thread-self/net/ip_tables_names")
	if err != nil || !strings.Contains(string(data), "nat") {
		t.Skipf("NOT TESTED: no table of iptables-legacy here: %v", err)
	}
	if n, err := kernelEntries(unix.AF_INET, unix.SOL_IP, "nat"); err != nil || n < 5 {
		t.Errorf("%d entries: %v", n, err)
	}
}
