package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/compose"
)

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func (c *conversion) egress(e *egress, path *field.Path) {
	switch strings.ToLower(e.DefaultAction) {
	case "deny":
		c.spec.Egress.DefaultAction = v1alpha1.ActionDeny
	case "allow":
		c.spec.Egress.DefaultAction = v1alpha1.ActionAllow
	default:
		c.refuse(path.Child("defaultAction"), fmt.Sprintf("%q: write deny or allow", e.DefaultAction))
	}
	for i := range e.Rules {
		c.addressRule(&e.Rules[i], path.Child("rules").Index(i))
	}
	for i := range e.HTTPRules {
		c.httpRule(&e.HTTPRules[i], path.Child("httpRules").Index(i))
	}
}

func (c *conversion) addressRule(r *addressRule, path *field.Path) {
	out := v1alpha1.Rule{Ports: c.ports(r.Ports, path.Child("ports"))}
	text := "any"
	switch {
	case r.IP != "" && r.CIDR != "":
		c.refuse(path, "has ip and cidr: make two rules")
	case r.IP != "":
		out.CIDRs, text = []string{r.IP}, r.IP
	case r.CIDR != "":
		out.CIDRs, text = []string{r.CIDR}, r.CIDR
	}
	c.add(out, r.Qualifiers, r.Description, text, path)
}

// httpRule without hosts is about requests that can be seen, and about no TLS that is passed on: http says that here.
func (c *conversion) httpRule(r *httpRule, path *field.Path) {
	match := path.Child("match")
	out := v1alpha1.Rule{Hosts: r.Match.Hosts, Ports: c.ports(r.Match.Ports, match.Child("ports"))}
	http := v1alpha1.HTTPMatch{Methods: r.Match.Methods, Paths: c.paths(r.Match.Paths, match.Child("paths"))}
	text := strings.Join(r.Match.Hosts, " ")
	if len(out.Hosts) == 0 {
		text = "http"
		if len(http.Paths) == 0 {
			http.Paths = []v1alpha1.PathMatch{{Prefix: new("/")}}
		}
	}
	if len(http.Methods)+len(http.Paths) > 0 {
		out.HTTP = []v1alpha1.HTTPMatch{http}
	}
	c.add(out, r.Qualifiers, r.Description, text, path)
}

func (c *conversion) paths(in []pathMatch, path *field.Path) []v1alpha1.PathMatch {
	var out []v1alpha1.PathMatch
	for i, p := range in {
		switch {
		case p.Exact != "" && p.Prefix == "":
			out = append(out, v1alpha1.PathMatch{Exact: &p.Exact})
		case p.Prefix != "" && p.Exact == "":
			out = append(out, v1alpha1.PathMatch{Prefix: &p.Prefix})
		default:
			c.refuse(path.Index(i), "write exact or prefix")
		}
	}
	return out
}

func (c *conversion) ports(in []port, path *field.Path) []v1alpha1.PortRange {
	var out []v1alpha1.PortRange
	for i, p := range in {
		if p.Port == 0 {
			c.refuse(path.Index(i).Child("port"), "0 is no port: leave ports out for all of them")
			continue
		}
		entry := v1alpha1.PortRange{Port: p.Port}
		if p.EndPort != 0 {
			entry.EndPort = &p.EndPort
		}
		out = append(out, entry)
	}
	return out
}

// add completes a rule with what its qualifiers and description say.
func (c *conversion) add(out v1alpha1.Rule, qualifiers []string, description, text string, path *field.Path) {
	for i, q := range qualifiers {
		action := v1alpha1.Action("")
		switch strings.ToLower(q) {
		case "allow":
			action = v1alpha1.ActionAllow
		case "deny":
			action = v1alpha1.ActionDeny
		case "audit":
			out.Audit = true
			continue
		default:
			c.refuse(path.Child("qualifiers").Index(i), fmt.Sprintf("%q: write allow, deny or audit", q))
			continue
		}
		if out.Action != "" && out.Action != action {
			c.refuse(path.Child("qualifiers"), "has allow and deny: make two rules")
		}
		out.Action = action
	}
	if out.Action == "" && !out.Audit {
		c.refuse(path.Child("qualifiers"), "is empty: write allow, deny or audit")
	}
	if description != "" {
		text = description
	}
	if out.Action == v1alpha1.ActionDeny && description == "" {
		text = "no " + text
	}
	out.Name = compose.UniqueName(c.names, strings.ReplaceAll(text, "*", "any"))
	c.out.Origins[fmt.Sprintf("spec.egress.rules[%d]", len(c.spec.Egress.Rules))] = path.String()
	c.spec.Egress.Rules = append(c.spec.Egress.Rules, out)
}

func (c *conversion) config(in *proxyConfig, path *field.Path) {
	if in == nil {
		return
	}
	c.spec.Proxy.UID, c.spec.Proxy.Port, c.spec.Proxy.AdminPort = in.UID, in.Port, in.AdminPort
	c.out.Origins["spec.proxy"] = path.String()
	if in.MITM == nil {
		return
	}
	path = path.Child("mitm")
	if in.MITM.CASecretRef != "" {
		c.refuse(path.Child("caSecretRef"), "the CA has to move: put it into a kubernetes.io/tls Secret in netproxy's own namespace, remove this field, and name the Secret in spec.mitm.caSecretRef of the result; or just remove this field, and a CA is generated")
	}
	out := &v1alpha1.MITM{Domains: in.MITM.Domains}
	c.out.Origins["spec.mitm"] = path.String()
	for i := range in.MITM.HeaderMutations {
		out.HeaderMutations = append(out.HeaderMutations, c.mutation(&in.MITM.HeaderMutations[i], path.Child("headerMutations").Index(i)))
		c.out.Origins[fmt.Sprintf("spec.mitm.headerMutations[%d]", i)] = path.Child("headerMutations").Index(i).String()
	}
	c.spec.MITM = out
}

func (c *conversion) mutation(in *headerMutation, path *field.Path) v1alpha1.HeaderMutation {
	out := v1alpha1.HeaderMutation{Domain: in.Domain}
	for i, h := range in.Headers {
		entry := v1alpha1.Header{Name: h.Name}
		switch {
		case h.Value != "" && h.SecretRef != nil, h.Value == "" && h.SecretRef == nil:
			c.refuse(path.Child("headers").Index(i), "write either value or secretRef")
		case h.SecretRef != nil:
			entry.SecretRef = &v1alpha1.SecretKeyRef{Name: h.SecretRef.Name, Key: h.SecretRef.Key}
		default:
			entry.Value = &h.Value
		}
		out.Headers = append(out.Headers, entry)
	}
	return out
}
