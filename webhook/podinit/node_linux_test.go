package podinit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"

	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

// reported is what the subcommand prints: one line of JSON.
func reported() (report nodereport.Node, err error) {
	var out, log bytes.Buffer
	h := host{root: podFS{os.DirFS("/")}, out: &out, log: &log}
	args := []string{"node", "--uid=1073741900", "--redirect-port=15001", "--admin-port=15000", "--default-action=Deny"}
	if err := run(h, args); err != nil {
		return report, err
	}
	if bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		return report, fmt.Errorf("not one line: %q", out.String())
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return report, fmt.Errorf("%q: %w", out.String(), err)
	}
	if report.Kernel == "" || report.MaxUserInstances == 0 || report.MaxUserWatches == 0 {
		return report, fmt.Errorf("no limits in %q", out.String())
	}
	return report, nil
}

func wantRedirects(want ...nodereport.Redirect) error {
	report, err := reported()
	if diff := cmp.Diff(want, report.Redirects); err != nil || report.Filter != "" || diff != "" {
		return fmt.Errorf("%w, filter %q (-want +got):\n%s", err, report.Filter, diff)
	}
	return nil
}

func node() error {
	return errors.Join(network("4", "6"), wantRedirects(nodereport.Redirect{Family: "IPv4"}, nodereport.Redirect{Family: "IPv6"}))
}

func nodeIPv4() error {
	return errors.Join(network("4"), wantRedirects(nodereport.Redirect{Family: "IPv4"}))
}

func nodeNoNetwork() error { return wantRedirects() }

func nodeMesh() error {
	if err := errors.Join(network("4"), otherNAT(&expr.Verdict{Kind: expr.VerdictAccept})); err != nil {
		return err
	}
	report, err := reported()
	if err != nil || !strings.Contains(report.Filter, "exclude the pod from the mesh") || len(report.Redirects) > 0 {
		return fmt.Errorf("%w, %+v", err, report)
	}
	return nil
}

func TestLimits(t *testing.T) {
	h := host{root: fstest.MapFS{"proc/sys/fs/inotify/max_user_instances": {Data: []byte("128\n")}, "proc/sys/fs/inotify/max_user_watches": {Data: []byte("many")}}}
	for name, want := range map[string]int{"fs/inotify/max_user_instances": 128, "fs/inotify/max_user_watches": 0, "fs/inotify/other": 0} {
		if got := limit(h, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
