// Command reference writes docs/policy-reference.md from the CustomResourceDefinitions, which are generated from the comments and
// markers of api/v1alpha1. Run it in the root of the repository; "make generate" does.
package main

import (
	"fmt"
	"os"
)

func main() {
	text, err := reference()
	if err == nil {
		err = os.WriteFile("docs/policy-reference.md", []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}
