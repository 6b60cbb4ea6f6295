// Package manifests carries the files that users apply, for the command line to write and to test.
package manifests

import (
	"embed"
	"io/fs"
)

//go:embed crd/*.yaml examples/*.yaml
var files embed.FS

// CRDs has the CustomResourceDefinitions, one file each.
func CRDs() (fs.FS, error) { return fs.Sub(files, "crd") }

// Examples has the example policies, one file each, in the order of their numbers.
func Examples() (fs.FS, error) { return fs.Sub(files, "examples") }
