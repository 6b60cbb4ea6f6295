package plugin

import "github.com/netproxy/netproxy/plugin/lab/attack"

// The Secret that a probe reads, and where.
const (
	// probeDir is where the Secret is mounted.
	probeDir = "/netproxy/lab"
	// probePolicyFile has the policy, and Secrets with the values that its proxy injects.
	probePolicyFile = "policy.yaml"
	// probeAuthorityFile has the lab's authority, which its proxy trusts.
	probeAuthorityFile = "world-ca.pem"
	// probeOptionsFile has probeOptions.
	probeOptionsFile = "options.json"
)

// probeOptions are what a probe is asked to do.
type probeOptions struct {
	// Only, when not empty, are the scenarios to run.
	Only []string `json:"only,omitempty"`
}

// probeStep is what a line of a probe is about.
type probeStep string

const (
	// probeStart: the lab is there, Total rows follow.
	probeStart probeStep = "start"
	// probeRow: one scenario is over.
	probeRow probeStep = "row"
	// probeEnd: all rows were written.
	probeEnd probeStep = "end"
	// probeError: the lab cannot be built, or broke; nothing follows.
	probeError probeStep = "error"
)

// probeEvent is a line of what a probe prints.
type probeEvent struct {
	Event probeStep `json:"event"`
	// Total is how many rows there will be.
	Total int `json:"total,omitempty"`
	// Differences are what is not as in other pods of the policy.
	Differences []string        `json:"differences,omitempty"`
	Row         *attack.Outcome `json:"row,omitempty"`
	// Text says what went wrong.
	Text string `json:"text,omitempty"`
}
