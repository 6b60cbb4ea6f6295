// Command netproxy-init runs in the init containers of pods that netproxy controls: it captures their traffic, and builds
// the trust stores of their images.
package main

import (
	"os"

	"github.com/netproxy/netproxy/webhook/podinit"
)

var version = "unknown" // set by the linker: -ldflags "-X main.version=..."

func main() { os.Exit(podinit.Main(version, os.Args[1:])) }
