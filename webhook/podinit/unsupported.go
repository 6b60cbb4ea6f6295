//go:build !linux

package podinit

import (
	"errors"

	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

func runCapture(host, captureOptions) error { return errors.New("only Linux has the packet filter") }

func inspectNode(host, captureOptions) nodereport.Node {
	return nodereport.Node{Filter: "only Linux has the packet filter"}
}
