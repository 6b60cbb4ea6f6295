//go:build !linux

package podinit

import "errors"

func runCapture(host, captureOptions) error { return errors.New("only Linux has the packet filter") }
