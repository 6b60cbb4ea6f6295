package audit

import (
	"fmt"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Filter says which records are wanted. Empty wants all.
type Filter struct {
	Only  Only
	Hosts []v1alpha1.Host
	// Since is the earliest time.
	Since time.Time
	// Policy is a policy as records name it, such as EgressPolicy/demo/agent.
	Policy string
}

// Only is a verdict that is wanted.
type Only string

// The values of Only.
const (
	Everything  Only = ""
	OnlyDenied  Only = "denied"
	OnlyAllowed Only = "allowed"
)

// ParseHosts reads hosts as policies have them: names, *.x, addresses.
func ParseHosts(texts []string) ([]v1alpha1.Host, error) {
	var out []v1alpha1.Host
	for _, text := range texts {
		host, err := v1alpha1.ParseHost(text)
		if err != nil {
			return nil, fmt.Errorf("--host: %w", err)
		}
		out = append(out, host)
	}
	return out, nil
}

// Wants says whether a record passes.
func (f *Filter) Wants(r *Record) bool {
	switch {
	case f.Only == OnlyDenied && !r.Denied(), f.Only == OnlyAllowed && r.Denied():
		return false
	case f.Policy != "" && r.Policy != f.Policy:
		return false
	case !f.Since.IsZero() && r.Time.Before(f.Since):
		return false
	case len(f.Hosts) == 0:
		return true
	}
	for _, host := range f.Hosts {
		for _, name := range []string{r.Host, r.SNI, r.Destination} {
			if name != "" && matches(host, hostOf(name)) {
				return true
			}
		}
	}
	return false
}

func matches(host v1alpha1.Host, name string) bool {
	other, err := v1alpha1.ParseHost(name)
	return err == nil && host.Covers(other)
}
