package xds

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// ruleCompiler takes what all rules have out of one block of each kind: thousands of rules have one or two of each.
type ruleCompiler struct {
	names    []v1alpha1.Host
	prefixes []netip.Prefix
	ports    []PortRange

	// Rules often follow others with the same http, which is then compiled once.
	lastHTTP []v1alpha1.HTTPMatch
	http     []HTTPMatch
}

// carve takes n elements off a block, as an empty slice.
func carve[T any](block *[]T, n int) []T {
	if n == 0 {
		return nil
	}
	out := (*block)[:0:n]
	*block = (*block)[n:]
	return out
}

func newRuleCompiler(rules []v1alpha1.Rule) *ruleCompiler {
	var hosts, cidrs, ports int
	for i := range rules {
		hosts += len(rules[i].Hosts)
		cidrs += len(rules[i].CIDRs)
		ports += len(rules[i].Ports)
	}
	return &ruleCompiler{names: make([]v1alpha1.Host, hosts), prefixes: make([]netip.Prefix, cidrs), ports: make([]PortRange, ports)}
}

func (p *Plan) compileRules(rules []v1alpha1.Rule) error {
	c := newRuleCompiler(rules)
	p.Rules = make([]Rule, len(rules))
	for i := range rules {
		if err := c.rule(i, &rules[i], &p.Rules[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *ruleCompiler) rule(i int, in *v1alpha1.Rule, out *Rule) error {
	*out = Rule{
		Index: i, Name: v1alpha1.RuleName(i, in), Action: in.Action, Audit: in.Audit,
		AnyDst: len(in.Hosts) == 0 && len(in.CIDRs) == 0, Resolution: in.ResolutionOrDefault(),
	}
	if len(in.Ports) > 0 {
		out.Ports = fillPorts(carve(&c.ports, len(in.Ports)), in.Ports)
	}
	if err := c.hosts(i, in, out); err != nil {
		return err
	}
	for k, text := range in.CIDRs {
		prefix, err := v1alpha1.ParseCIDR(text)
		if err != nil {
			return fmt.Errorf("%s: %w", rulesField().Index(i).Child("cidrs").Index(k), err)
		}
		if out.Prefixes == nil {
			out.Prefixes = carve(&c.prefixes, len(in.CIDRs))
		}
		out.Prefixes = append(out.Prefixes, prefix)
	}
	if !sameHTTP(in.HTTP, c.lastHTTP) {
		c.lastHTTP, c.http = in.HTTP, compileHTTP(in.HTTP)
	}
	out.HTTP = c.http
	return nil
}

// hosts: an address among them is a prefix.
func (c *ruleCompiler) hosts(i int, in *v1alpha1.Rule, out *Rule) error {
	names := carve(&c.names, len(in.Hosts))
	for k, text := range in.Hosts {
		host, err := v1alpha1.ParseHost(text)
		if err != nil {
			return fmt.Errorf("%s: %w", rulesField().Index(i).Child("hosts").Index(k), err)
		}
		if host.Kind == v1alpha1.HostIP {
			out.Prefixes = append(out.Prefixes, netip.PrefixFrom(host.Addr, host.Addr.BitLen()))
			continue
		}
		names = append(names, host)
	}
	if len(names) > 0 {
		out.Names = names
	}
	return nil
}

func sameHTTP(a, b []v1alpha1.HTTPMatch) bool {
	return slices.EqualFunc(a, b, func(x, y v1alpha1.HTTPMatch) bool {
		return x.AllowEncodedSlashes == y.AllowEncodedSlashes && slices.Equal(x.Methods, y.Methods) && slices.EqualFunc(x.Paths, y.Paths, samePath)
	})
}

func samePath(a, b v1alpha1.PathMatch) bool {
	return sameText(a.Exact, b.Exact) && sameText(a.Prefix, b.Prefix)
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func compileHTTP(in []v1alpha1.HTTPMatch) []HTTPMatch {
	var out []HTTPMatch
	for i := range in {
		m := &in[i]
		match := HTTPMatch{Methods: m.Methods, EncodedSlash: EncodedSlash(m.AllowEncodedSlashes)}
		for _, p := range m.Paths {
			if p.Exact != nil {
				match.Paths = append(match.Paths, newPath(PathExact, *p.Exact, m.EncodedSlashes()))
			} else if p.Prefix != nil {
				match.Paths = append(match.Paths, newPath(PathPrefix, *p.Prefix, m.EncodedSlashes()))
			}
		}
		out = append(out, match)
	}
	return out
}

// newPath normalises as Envoy does; Validate has refused what has no such form.
func newPath(kind PathKind, text string, slashes v1alpha1.EncodedSlashes) Path {
	if normal, err := v1alpha1.NormalizePath(text, slashes); err == nil {
		text = normal
	}
	path := Path{Kind: kind, Text: text}
	if pattern, several := v1alpha1.PathPattern(text); several {
		if kind == PathPrefix {
			pattern += ".*"
		}
		path.pattern = regexp.MustCompile("^(?:" + pattern + ")$")
	}
	return path
}
