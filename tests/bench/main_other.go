//go:build !linux

// Command bench measures netproxy; it needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: network namespaces and Envoy's CPU time are read from Linux: run it in a Linux machine")
	os.Exit(1)
}
