//go:build !linux

// Command world needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "world: needs Linux")
	os.Exit(1)
}
