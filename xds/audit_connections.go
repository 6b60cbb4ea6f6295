package xds

import (
	"fmt"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// connectionRecorders are the rules that only record and need no HTTP for it: they also see connections that are not
// looked into.
func (p *Plan) connectionRecorders() []*Rule {
	var out []*Rule
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Action == "" && len(r.HTTP) == 0 {
			out = append(out, r)
		}
	}
	return out
}

// connectionConditions are those rules in CEL.
func (p *Plan) connectionConditions() []string {
	var out []string
	for _, r := range p.connectionRecorders() {
		out = append(out, r.connectionCondition())
	}
	return out
}

// recordedBy is a format that names the first of those rules that matches; it is empty without any.
func (p *Plan) recordedBy() string {
	var b strings.Builder
	for _, r := range p.connectionRecorders() {
		if len(r.Prefixes) == 0 {
			fmt.Fprintf(&b, "%s ? '%s' : ", r.connectionCondition(), r.Name)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "%CEL(" + b.String() + "'')%"
}

// connectionCondition is true for a rule with addresses: CEL in Envoy has no networks, and a record too many is better than
// one that is missing. Such a rule is not named in the record.
func (r *Rule) connectionCondition() string {
	where := "true"
	if !r.AnyDst && len(r.Prefixes) == 0 {
		var names []string
		for _, h := range r.Names {
			names = append(names, serverNameCondition(h))
		}
		where = "(" + strings.Join(names, " || ") + ")"
	}
	if r.Ports == nil {
		return where
	}
	var ports []string
	for _, p := range r.Ports {
		ports = append(ports, fmt.Sprintf("destination.port >= %d && destination.port <= %d", p.First, p.Last))
	}
	return where + " && (" + strings.Join(ports, " || ") + ")"
}

// serverNameCondition compares with the SNI; names of hosts have no quotes in them.
func serverNameCondition(h v1alpha1.Host) string {
	switch h.Kind {
	case v1alpha1.HostExact:
		return "connection.requested_server_name == '" + h.Name + "'"
	case v1alpha1.HostSuffix:
		return "connection.requested_server_name.endsWith('." + h.Name + "')"
	default:
		return "connection.requested_server_name != ''"
	}
}
