// Package nodereport is what "netproxy-init node" says about the node that it runs on. It stands alone, so that the init container and
// the plugin have one contract, and neither links the other.
package nodereport

// Node is one JSON object, on one line.
type Node struct {
	// Kernel is the version, such as 6.18.2.
	Kernel string `json:"kernel"`
	// Filter is why the rules of a protected pod cannot be programmed; empty if they can.
	Filter string `json:"filter,omitempty"`
	// Redirects are the address families of the pod, if the rules could be programmed.
	Redirects []Redirect `json:"redirects,omitempty"`
	// MaxUserInstances and MaxUserWatches are fs.inotify's limits for each user; 0 if they cannot be read.
	MaxUserInstances int `json:"maxUserInstances"`
	MaxUserWatches   int `json:"maxUserWatches"`
}

// Redirect is whether connections of one address family arrive at the proxy's port.
type Redirect struct {
	Family string `json:"family"`
	// Trouble is why they do not; empty if they do.
	Trouble string `json:"trouble,omitempty"`
}
