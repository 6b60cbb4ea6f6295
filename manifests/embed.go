// Package manifests carries the files that users apply, for the command line to write and to test.
package manifests

import (
	"embed"
	"io/fs"
)

//go:embed crd/netproxy.dev_*.yaml examples/*.yaml install/[0-9]*.yaml
var files embed.FS

// CRDs has the CustomResourceDefinitions, one file each.
func CRDs() (fs.FS, error) { return fs.Sub(files, "crd") }

// Examples has the example policies, one file each, in the order of their numbers.
func Examples() (fs.FS, error) { return fs.Sub(files, "examples") }

// Install has the objects of netproxy's own installation, without the CRDs, in the order in which to create them.
func Install() (fs.FS, error) { return fs.Sub(files, "install") }
