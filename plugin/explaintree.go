package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/xds"
)

const defaultField = "spec.egress.defaultAction"

// branch is a node of the tree for machines.
type branch struct {
	Text      string   `json:"text"`
	FieldPath string   `json:"fieldPath,omitempty"`
	Children  []branch `json:"children,omitempty"`
}

func branchOf(n ui.Node) branch {
	out := branch{Text: n.Text, FieldPath: n.Note}
	for _, child := range n.Children {
		out.Children = append(out.Children, branchOf(child))
	}
	return out
}

// explainer draws one description.
type explainer struct {
	*chosen
	d xds.Description
}

// explainTree shows what happens to a connection, top down: the first thing that matches decides.
func explainTree(c *chosen, d xds.Description) ui.Node {
	e := explainer{c, d}
	root := ui.Node{Text: fmt.Sprintf("%s  default %s", c.title(), c.plan.Default), Tone: ui.Strong}
	e.listeners(&root)
	for _, step := range d.Steps {
		e.step(&root, step)
	}
	e.recording(&root)
	if len(c.private) > 0 {
		private := root.Add("private besides the built-in ranges: no name with resolution Public may have an address there", "")
		for _, p := range c.private {
			private.Add(p.String(), "")
		}
	}
	return root
}

func (e explainer) listeners(root *ui.Node) {
	list := root.Add("listeners take every TCP connection of the pod", "")
	for _, l := range e.d.Listeners {
		list.Add(fmt.Sprintf("%s on %s", l.Name, l.Address), "spec.proxy.port")
	}
	if e.allOpaque() {
		list.Add("nothing is inspected: only addresses count in this policy", "spec.egress.rules")
		return
	}
	list.Add(fmt.Sprintf("the client has %s to show what it speaks; then the connection is closed", e.d.InspectTimeout), "")
	if len(e.d.Opaque) > 0 {
		list.Add("nothing is inspected on port "+e.d.Opaque.String()+": only addresses count there", "spec.egress.rules")
	}
}

func (e explainer) allOpaque() bool { return e.d.Opaque.String() == "1-65535" }

func (e explainer) step(root *ui.Node, step xds.StepDescription) {
	node := root.Add(stepTitle(step.Step), "")
	switch step.Step {
	case xds.StepInterceptedName, xds.StepInterceptedAddress:
		for _, entry := range step.Entries {
			e.intercepted(node, entry)
		}
	case xds.StepPlaintext:
		e.plaintext(node, step.Entries[0])
	case xds.StepDefault:
		e.byDefault(node, step.Entries)
	default:
		for _, entry := range step.Entries {
			e.ruled(node, entry)
		}
	}
}

func stepTitle(s xds.Step) string {
	switch s {
	case xds.StepInterceptedName:
		return "TLS to an intercepted name"
	case xds.StepPlaintext:
		return "plaintext HTTP"
	case xds.StepDeniedAddress:
		return "other connections to a denied address"
	case xds.StepPassedName:
		return "TLS that stays closed to the proxy, by its SNI"
	case xds.StepInterceptedAddress:
		return "TLS to an intercepted address"
	case xds.StepAllowedAddress:
		return "other connections to an allowed address"
	default:
		return "everything else"
	}
}

func (e explainer) intercepted(parent *ui.Node, entry xds.EntryDescription) {
	node := parent.Add(fmt.Sprintf("%s  chain %s", entry.Match, entry.Chain), entry.Domain.Field())
	node.Add("another Host than "+hostWord(entry.Domain)+" gets 404; over HTTP/2 another intercepted name gets 421", "")
	for _, h := range entry.Domain.Headers {
		node.Add(fmt.Sprintf("injects %s from %s", h.Name, headerSource(h)), e.fieldOfHeader(entry.Domain, h))
	}
	if len(entry.Domain.Headers) > 0 {
		node.Add("TRACE gets 403: it would echo what is injected", "")
	}
	e.hosts(node, entry.Hosts)
}

func hostWord(d *xds.Domain) string {
	if d.Addr.IsValid() {
		return "the address"
	}
	return "the SNI"
}

// fieldOfHeader is where the policy asks for the header.
func (e explainer) fieldOfHeader(d *xds.Domain, h xds.Header) string {
	for i, m := range e.spec.MITM.HeaderMutations {
		domain, err := v1alpha1.ParseDomain(m.Domain)
		if err != nil || domain != d.Domain {
			continue
		}
		for k := range m.Headers {
			if strings.EqualFold(m.Headers[k].Name, h.Name) {
				return headerField(i, k).String()
			}
		}
	}
	return ""
}

// hosts shows the rules of each set of names; of a single one directly.
func (e explainer) hosts(node *ui.Node, hosts []xds.HostDescription) {
	for _, host := range hosts {
		at := node
		if len(hosts) > 1 {
			at = node.Add("Host "+hostTitle(host.Host), "")
		}
		e.requests(at, host)
	}
	if len(hosts) == 0 {
		e.requests(node, xds.HostDescription{})
	}
}

func hostTitle(host string) string {
	if host == "*" {
		return "any other name"
	}
	return host
}

// requests lists the rules in the order in which they decide: denied addresses, denied names, allowed names, allowed
// addresses, the default.
func (e explainer) requests(node *ui.Node, host xds.HostDescription) {
	for _, r := range e.visibleAddressRules(v1alpha1.ActionDeny) {
		node.Add(requestRule(r, "", ofAddress), r.Field())
	}
	for _, use := range host.Rules {
		node.Add(requestRule(use.Rule, use.Way, ofName), use.Rule.Field())
	}
	for _, r := range e.visibleAddressRules(v1alpha1.ActionAllow) {
		node.Add(requestRule(r, v1alpha1.ResolutionClient, ofAddress), r.Field())
	}
	text := "otherwise 403"
	if e.plan.Default == v1alpha1.ActionAllow {
		text = "otherwise allowed, to the address that the client connects to"
	}
	node.Add(text, defaultField)
}

// visibleAddressRules leaves out rules for ports on which nobody looks for requests.
func (e explainer) visibleAddressRules(action v1alpha1.Action) []*xds.Rule {
	var out []*xds.Rule
	for _, r := range e.plan.AddressRules(action) {
		hidden := r.Ports != nil
		for _, ports := range r.Ports {
			hidden = hidden && slices.ContainsFunc(e.d.Opaque, func(o xds.PortRange) bool { return o.First <= ports.First && ports.Last <= o.Last })
		}
		if !hidden {
			out = append(out, r)
		}
	}
	return out
}

// subject is what a rule is matched against.
type subject string

const (
	ofName    subject = "name"
	ofAddress subject = "address"
)

func requestRule(r *xds.Rule, way v1alpha1.Resolution, by subject) string {
	parts := []string{fmt.Sprintf("%s %s", actionWord(r.Action), r.Name)}
	if by == ofAddress {
		parts = append(parts, addressText(r))
	}
	parts = append(parts, portText(r.Ports))
	if len(r.HTTP) > 0 {
		parts = append(parts, httpText(r))
	}
	if r.Action == v1alpha1.ActionDeny {
		parts = append(parts, "gets 403")
	}
	if w := wayText(string(way)); w != "" {
		parts = append(parts, "goes to "+w)
	}
	return strings.Join(parts, "; ") + auditText(r)
}

func actionWord(a v1alpha1.Action) string {
	switch a {
	case v1alpha1.ActionAllow:
		return "allow"
	case v1alpha1.ActionDeny:
		return "deny"
	}
	return "record"
}

func auditText(r *xds.Rule) string {
	if r.Audit && r.Action != "" {
		return "; recorded"
	}
	return ""
}

func portText(p xds.PortSet) string {
	if p == nil {
		return "every port"
	}
	return "port " + p.String()
}

func addressText(r *xds.Rule) string {
	if r.AnyDst {
		return "any destination"
	}
	texts := make([]string, len(r.Prefixes))
	for i, p := range r.Prefixes {
		texts[i] = p.String()
		if p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
	}
	return strings.Join(texts, ", ")
}

// httpText is the alternatives of a rule's http.
func httpText(r *xds.Rule) string {
	var out []string
	for _, m := range r.HTTP {
		text := "any method"
		if len(m.Methods) > 0 {
			text = strings.Join(m.Methods, ", ")
		}
		var paths []string
		for _, p := range m.Paths {
			if p.Kind == xds.PathPrefix {
				paths = append(paths, p.Text+"...")
				continue
			}
			paths = append(paths, p.Text)
		}
		if len(paths) > 0 {
			text += " " + strings.Join(paths, ", ")
		}
		if m.EncodedSlash == xds.AllowEncodedSlash {
			text += " (encoded slashes too)"
		}
		out = append(out, text)
	}
	return strings.Join(out, " or ")
}

func (e explainer) plaintext(node *ui.Node, entry xds.EntryDescription) {
	if e.allOpaque() {
		node.Add("is not looked for: nothing gets to chain "+entry.Chain, "")
		return
	}
	node.Text += "  chain " + entry.Chain
	if len(e.plan.Domains) > 0 {
		node.Add("nothing is injected without TLS", "")
	}
	if len(entry.Hosts) == 0 {
		e.requests(node, xds.HostDescription{})
		return
	}
	for _, host := range entry.Hosts {
		e.requests(node.Add("Host "+hostTitle(host.Host), ""), host)
	}
	if entry.Hosts[len(entry.Hosts)-1].Host != "*" {
		e.requests(node.Add("any other Host", ""), xds.HostDescription{})
	}
}

// ruled is a decision about a connection whose requests cannot be seen.
func (e explainer) ruled(parent *ui.Node, entry xds.EntryDescription) {
	r := entry.Rule
	what := entry.Match
	if what == "" {
		what = addressText(r)
	}
	if what == "*" {
		what = "any other name"
	}
	parts := []string{what + ", " + portText(r.Ports)}
	switch {
	case r.Action == v1alpha1.ActionDeny && len(r.HTTP) > 0:
		parts = append(parts, fmt.Sprintf("closed by %s: it has http, which cannot be seen here", r.Name))
	case r.Action == v1alpha1.ActionDeny:
		parts = append(parts, "closed by "+r.Name)
	default:
		parts = append(parts, "passed through by "+r.Name, "goes to "+wayText(string(entry.Way)))
	}
	parent.Add(strings.Join(append(parts, "chain "+entry.Chain), "; ")+auditText(r), r.Field())
}

func (e explainer) byDefault(node *ui.Node, entries []xds.EntryDescription) {
	for _, entry := range entries {
		switch {
		case entry.Way != "":
			node.Add("passed through to the address that the client connects to; chain "+entry.Chain, defaultField)
		case len(entries) > 1:
			node.Add("loopback, link-local and metadata addresses are closed; chain "+entry.Chain, "")
		default:
			node.Add("closed without a byte; chain "+entry.Chain, defaultField)
		}
	}
}

// recording lists the rules that only record.
func (e explainer) recording(root *ui.Node) {
	var rules []*xds.Rule
	for i := range e.plan.Rules {
		if e.plan.Rules[i].Action == "" {
			rules = append(rules, &e.plan.Rules[i])
		}
	}
	if len(rules) == 0 {
		return
	}
	node := root.Add("recorded, whatever is decided", "")
	for _, r := range rules {
		parts := []string{r.Name, destinationText(r), portText(r.Ports)}
		if len(r.HTTP) > 0 {
			parts = append(parts, httpText(r))
		}
		node.Add(strings.Join(parts, "; "), r.Field())
	}
}

func destinationText(r *xds.Rule) string {
	var out []string
	for _, h := range r.Names {
		out = append(out, h.String())
	}
	if r.AnyDst || len(r.Prefixes) > 0 {
		out = append(out, addressText(r))
	}
	return strings.Join(out, ", ")
}
