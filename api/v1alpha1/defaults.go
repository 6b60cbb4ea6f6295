package v1alpha1

import "strconv"

// SetDefaults writes the defaults that admission writes: the proxy's ports. Resources are merged later, since
// cluster-wide defaults lie between, and Resolution stays as it is, since it may stand in rules with hosts only.
func SetDefaults(spec *EgressPolicySpec) {
	if spec.Proxy.Port == nil {
		spec.Proxy.Port = new(DefaultProxyPort)
	}
	if spec.Proxy.AdminPort == nil {
		spec.Proxy.AdminPort = new(DefaultAdminPort)
	}
}

// PortOrDefault is the redirect port.
func (p *Proxy) PortOrDefault() int32 {
	if p.Port == nil {
		return DefaultProxyPort
	}
	return *p.Port
}

// AdminPortOrDefault is the status port.
func (p *Proxy) AdminPortOrDefault() int32 {
	if p.AdminPort == nil {
		return DefaultAdminPort
	}
	return *p.AdminPort
}

// ResolutionOrDefault is Public if the rule says nothing.
func (r *Rule) ResolutionOrDefault() Resolution {
	if r.Resolution == "" {
		return ResolutionPublic
	}
	return r.Resolution
}

// Last is the last port of the range, inclusive.
func (p PortRange) Last() int32 {
	if p.EndPort == nil {
		return p.Port
	}
	return *p.EndPort
}

// rulePrefix begins the names that rules without one get.
const rulePrefix = "rule-"

// RuleName is the rule's name, or rule-<index> if it has none. Validation sees to it that they are unique.
func RuleName(index int, rule *Rule) string {
	if rule.Name != "" {
		return rule.Name
	}
	return rulePrefix + strconv.Itoa(index)
}
