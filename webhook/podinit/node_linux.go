package podinit

import (
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

// inspectNode does in this pod what runCapture does in a protected one, and tells instead of failing.
func inspectNode(h host, o captureOptions) nodereport.Node {
	out := nodereport.Node{
		Kernel:           setting(h, "kernel/osrelease"),
		MaxUserInstances: limit(h, "fs/inotify/max_user_instances"), MaxUserWatches: limit(h, "fs/inotify/max_user_watches"),
	}
	rules, err := o.rules(h)
	if err == nil {
		err = program(h, rules)
	}
	if err != nil {
		out.Filter = oneLine(err)
		return out
	}
	for _, f := range families() {
		if !hasRoute(f.outside) {
			continue
		}
		redirect := nodereport.Redirect{Family: f.name}
		if err := f.probe(uint16(o.redirectPort)); err != nil {
			redirect.Trouble = oneLine(err)
		}
		out.Redirects = append(out.Redirects, redirect)
	}
	return out
}

// setting is one of the kernel's; empty if it cannot be read.
func setting(h host, name string) string {
	data, err := readBounded(h.root, "proc/sys/"+name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func limit(h host, name string) int {
	n, err := strconv.Atoi(setting(h, name))
	if err != nil {
		return 0
	}
	return n
}
