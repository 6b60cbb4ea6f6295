// Package podinit is what netproxy's init containers do. "capture" runs first in the pod and closes it: all traffic goes
// through the proxy from then on. "trust" runs once in each image of the pod and builds the trust stores of the
// containers with that image. "node" runs in a pod of its own and tells whether its node can do what capture needs. Whatever the
// others cannot do ends them with an error, and the pod does not start.
package podinit

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/netproxy/netproxy/webhook/podinit/nodereport"
)

// terminationLog is where Kubernetes takes the message from that "kubectl describe pod" shows.
const terminationLog = "/dev/termination-log"

// host is the process's surroundings.
type host struct {
	root   fs.FS               // the file system from /
	dir    string              // the working directory, for relative names
	getenv func(string) string // the image's environment
	now    time.Time
	out    io.Writer
	log    io.Writer
}

// Main runs the subcommand and returns the process's exit code. args are without the program's name.
func Main(version string, args []string) int {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // the image's WORKDIR may be gone or forbidden: nothing depends on it but relative names
	}
	h := host{root: os.DirFS("/"), dir: dir, getenv: os.Getenv, now: time.Now(), out: os.Stdout, log: os.Stderr}
	if len(args) == 1 && args[0] == "version" {
		fmt.Println(version)
		return 0
	}
	if err := run(h, args); err != nil {
		report(err)
		return 1
	}
	return 0
}

func run(h host, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "capture":
		o, err := parseCapture(args[1:])
		if err != nil {
			return fmt.Errorf("netproxy-init capture: %w", err)
		}
		return wrap("capture the pod's traffic", runCapture(h, o))
	case "trust":
		o, err := parseTrust(args[1:])
		if err != nil {
			return fmt.Errorf("netproxy-init trust: %w", err)
		}
		return wrap("build the trust stores", runTrust(h, o))
	case "node":
		o, err := parseCapture(args[1:])
		if err != nil {
			return fmt.Errorf("netproxy-init node: %w", err)
		}
		return tell(h, inspectNode(h, o))
	}
	return fmt.Errorf("netproxy-init: %q is none of capture, trust, node and version", name)
}

// tell writes the report to the log, and to the pod's status, which needs no right to read logs.
func tell(h host, node nodereport.Node) error {
	text, err := json.Marshal(node)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(h.out, "%s\n", text); err != nil {
		return err
	}
	writeTerminationLog(string(text))
	return nil
}

func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("netproxy cannot %s, so the pod must not start: %w", doing, err)
	}
	return nil
}

// report writes the reason where people look for it: the container's log, and the pod's status.
func report(err error) {
	text := oneLine(err)
	fmt.Fprintln(os.Stderr, text)
	writeTerminationLog(text)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func writeTerminationLog(text string) {
	// Not created: outside of a container there is none, and in it the kubelet made it.
	f, openErr := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if openErr != nil {
		return
	}
	defer func() { _ = f.Close() }()
	fmt.Fprintln(f, text)
}
