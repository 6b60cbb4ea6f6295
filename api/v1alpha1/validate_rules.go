package v1alpha1

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxPort = 65535

func (c *checker) checkEgress(path *field.Path) {
	egress := &c.spec.Egress
	c.checkAction(egress.DefaultAction, path.Child("defaultAction"))
	if egress.DefaultAction == "" {
		c.fail(field.Required(path.Child("defaultAction"), "write Deny, or Allow to close only what deny rules name"))
	}
	rules := path.Child("rules")
	if len(egress.Rules) > MaxRules {
		c.fail(field.TooMany(rules, len(egress.Rules), MaxRules))
		return
	}
	for i := range egress.Rules {
		c.checkRule(i, &egress.Rules[i], rules.Index(i))
	}
}

func (c *checker) checkAction(action Action, path *field.Path) {
	switch action {
	case "", ActionAllow, ActionDeny:
	default:
		c.fail(field.NotSupported(path, action, []Action{ActionAllow, ActionDeny}))
	}
}

func (c *checker) checkRule(index int, rule *Rule, path *field.Path) {
	before := len(c.errs)
	c.checkRuleName(index, rule, path.Child("name"))
	c.checkAction(rule.Action, path.Child("action"))
	if rule.Action == "" && !rule.Audit {
		c.fail(field.Required(path.Child("action"), "the rule does nothing; write Allow, Deny or audit: true"))
	}
	if len(rule.Hosts) > 0 && len(rule.CIDRs) > 0 {
		c.fail(field.Forbidden(path.Child("cidrs"), "hosts and cidrs exclude each other; make two rules"))
	}
	c.checkEmptyLists(rule, path)
	hosts := c.checkHosts(rule, path.Child("hosts"))
	c.checkCIDRs(rule, path.Child("cidrs"))
	c.checkPorts(rule.Ports, path.Child("ports"))
	c.checkResolution(rule, path.Child("resolution"))
	for i := range rule.HTTP {
		c.checkHTTP(&rule.HTTP[i], path.Child("http").Index(i))
	}
	if len(c.errs) == before {
		c.warnRule(&ruleView{name: RuleName(index, rule), rule: rule, hosts: hosts, path: path})
	}
}

func (c *checker) checkRuleName(index int, rule *Rule, path *field.Path) {
	name := RuleName(index, rule)
	if len(validation.IsDNS1123Label(name)) > 0 {
		c.fail(field.Invalid(path, name, "no DNS label; write lower-case letters, digits and inner hyphens, at most 63"))
	}
	if slices.Contains(verdictNames(), name) {
		c.fail(field.Invalid(path, name, "what records and denials say where no rule decided; choose another"))
	}
	if first, ok := c.names[name]; ok {
		c.fail(duplicate(path, name, fmt.Sprintf("rules[%d] has this name already; rename one", first)))
		return
	}
	c.names[name] = index
	if n, err := strconv.Atoi(strings.TrimPrefix(name, rulePrefix)); err == nil && n != index && name == RuleName(n, &Rule{}) {
		c.fail(field.Invalid(path, name, fmt.Sprintf("the name that rules[%d] has when it is not named; choose another", n)))
	}
}

// verdictNames stand where the name of a rule stands otherwise. Envoy calls it "none" when no rule allows a Host, which then
// counts as misdirected.
func verdictNames() []string {
	return []string{"by-address", "default", "misdirected", "none", "trace"}
}

// checkEmptyLists refuses lists that are there but empty: they look like "nothing" and would mean "everything".
func (c *checker) checkEmptyLists(rule *Rule, path *field.Path) {
	const detail = "an empty list would match everything; leave the field out or name something"
	if rule.Hosts != nil && len(rule.Hosts) == 0 {
		c.fail(field.Required(path.Child("hosts"), detail))
	}
	if rule.CIDRs != nil && len(rule.CIDRs) == 0 {
		c.fail(field.Required(path.Child("cidrs"), detail))
	}
	if rule.Ports != nil && len(rule.Ports) == 0 {
		c.fail(field.Required(path.Child("ports"), detail))
	}
	if rule.HTTP != nil && len(rule.HTTP) == 0 {
		c.fail(field.Required(path.Child("http"), detail))
	}
}

// checkHosts returns the hosts that could be read.
func (c *checker) checkHosts(rule *Rule, path *field.Path) []Host {
	if len(rule.Hosts) == 0 {
		return nil
	}
	hosts := make([]Host, 0, len(rule.Hosts))
	for i, s := range rule.Hosts {
		host, err := parseHost(s)
		if err != nil {
			c.invalid(path.Index(i), s, err)
			continue
		}
		hosts = append(hosts, host)
		if rule.Action == ActionAllow {
			c.allowed.add(host)
		}
	}
	return hosts
}

func (c *checker) checkCIDRs(rule *Rule, path *field.Path) {
	for i, s := range rule.CIDRs {
		prefix, err := parseCIDR(s)
		if err != nil {
			c.invalid(path.Index(i), s, err)
		} else if rule.Action == ActionAllow {
			c.allowedCIDRs = append(c.allowedCIDRs, prefix)
		}
	}
	if rule.Action == ActionAllow && len(rule.CIDRs) == 0 && len(rule.Hosts) == 0 {
		c.allowsAny = true
	}
}

func (c *checker) checkPorts(ports []PortRange, path *field.Path) {
	for i, p := range ports {
		c.checkPort(p.Port, path.Index(i).Child("port"))
		if p.EndPort == nil {
			continue
		}
		end := path.Index(i).Child("endPort")
		c.checkPort(*p.EndPort, end)
		if *p.EndPort < p.Port {
			c.fail(field.Invalid(end, *p.EndPort, fmt.Sprintf("below port %d; exchange them", p.Port)))
		}
	}
}

func (c *checker) checkPort(port int32, path *field.Path) {
	if port < 1 || port > maxPort {
		c.fail(field.Invalid(path, port, "no port; write 1 to 65535, or leave ports out for every port"))
	}
}

func (c *checker) checkResolution(rule *Rule, path *field.Path) {
	switch rule.Resolution {
	case "":
		return
	case ResolutionPublic, ResolutionAny, ResolutionClient:
	default:
		c.fail(field.NotSupported(path, rule.Resolution, []Resolution{ResolutionPublic, ResolutionAny, ResolutionClient}))
	}
	if len(rule.Hosts) == 0 {
		c.fail(field.Invalid(path, rule.Resolution, "only names are resolved, and the rule has no hosts; remove it"))
	}
}

func (c *checker) checkHTTP(match *HTTPMatch, path *field.Path) {
	if len(match.Methods) == 0 && len(match.Paths) == 0 && !match.AllowEncodedSlashes {
		c.fail(field.Required(path, "an empty entry; name methods or paths, or write paths: [{prefix: /}] for every request"))
	}
	for i, method := range match.Methods {
		if err := checkMethod(method); err != nil {
			c.invalid(path.Child("methods").Index(i), method, err)
		}
	}
	for i := range match.Paths {
		c.checkPath(&match.Paths[i], match.EncodedSlashes(), path.Child("paths").Index(i))
	}
}

func (c *checker) checkPath(match *PathMatch, slashes EncodedSlashes, path *field.Path) {
	switch {
	case match.Prefix == nil && match.Exact == nil:
		c.fail(field.Required(path, "write prefix or exact"))
	case match.Prefix != nil && match.Exact != nil:
		c.fail(field.Forbidden(path.Child("exact"), "prefix and exact exclude each other; make two entries"))
	}
	if match.Prefix != nil {
		if _, err := normalizePath(*match.Prefix, slashes); err != nil {
			c.invalid(path.Child("prefix"), *match.Prefix, err)
		}
	}
	if match.Exact != nil {
		if _, err := normalizePath(*match.Exact, slashes); err != nil {
			c.invalid(path.Child("exact"), *match.Exact, err)
		}
	}
}

// checkMethod knows that methods are case-sensitive tokens (RFC 9110, section 9.1): a standard one in lower case is
// another method, which no client sends.
func checkMethod(method string) error {
	upper := strings.ToUpper(method)
	switch {
	case !isToken(method):
		return errors.New("no HTTP method; write letters such as GET or PROPFIND")
	case upper == "CONNECT":
		return errors.New("CONNECT would make a tunnel that no rule sees; it is never let through, remove it")
	case upper != method && standardMethod(upper):
		return fmt.Errorf("methods are case-sensitive; write %s", upper)
	}
	return nil
}

func standardMethod(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH":
		return true
	}
	return false
}
