package v1alpha1

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// checkWildcard refuses "*.x" where x is a registry's: anyone can have a name below it. Names that no registry knows, such
// as svc.cluster.local, are the cluster's own.
func checkWildcard(name string) error {
	suffix, icann := publicsuffix.PublicSuffix(name)
	if icann && suffix == name {
		return fmt.Errorf("a wildcard over the public suffix %q means names of anyone; write *.example.%s", name, name)
	}
	return nil
}

// shared reports whether x in "*.x" is a suffix below which a provider's customers have names, such as github.io (the
// private section of the Public Suffix List).
func shared(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return !icann && suffix == name && strings.Contains(name, ".")
}
