package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ruleView is a rule with what was read from it.
//
// +kubebuilder:object:generate=false
type ruleView struct {
	name  string
	rule  *Rule
	hosts []Host
	path  *field.Path
}

func (c *checker) warnRule(v *ruleView) {
	c.warnHTTP(v)
	c.warnPassthrough(v)
	c.warnBestEffort(v)
	c.warnPrefixes(v)
	c.warnShared(v)
	if v.rule.Resolution == ResolutionClient {
		c.warnOf(v, "resolution", "with Client the name is only what the client claims: it can send it to any address; use Public "+
			"or Any where you can")
	}
	if found := otherProtocols(v.rule.Ports); found != "" && len(v.rule.Hosts) > 0 {
		c.warnOf(v, "ports", found+" shows no name, which hosts need; write a rule with cidrs for it")
	}
}

// warnOf names the rule.
func (c *checker) warnOf(v *ruleView, child, message string) {
	c.warn(v.path.Child(child), fmt.Sprintf("rule %q: %s", v.name, message))
}

func (c *checker) warnShared(v *ruleView) {
	for i, host := range v.hosts {
		if v.rule.Action == ActionAllow && host.Kind == HostSuffix && shared(host.Name) {
			c.warn(v.path.Child("hosts").Index(i), fmt.Sprintf("rule %q: %s", v.name, sharedWarning(host.Name)))
		}
	}
}

func sharedWarning(name string) string {
	return fmt.Sprintf("customers of one provider share %q, anyone can have a name below it; name the ones you mean", name)
}

// warnHTTP says which traffic a rule with http cannot judge, and what becomes of it.
func (c *checker) warnHTTP(v *ruleView) {
	if len(v.rule.HTTP) == 0 || plaintextOnly(v.rule.Ports) {
		return
	}
	effect := "is not recorded"
	switch v.rule.Action {
	case ActionAllow:
		effect = "is not allowed by it"
	case ActionDeny:
		effect = "is closed altogether"
	}
	if len(v.rule.Hosts) == 0 {
		c.warnOf(v, "http", "HTTP is visible in plaintext and inside TLS to mitm.domains only, all else "+effect+
			"; name hosts that are in mitm.domains, or write ports: [{port: 80}]")
		return
	}
	if unseen := c.unseen(v.hosts); len(unseen) > 0 {
		c.warnOf(v, "http", fmt.Sprintf("HTTP inside TLS to %s is not visible and %s; add the names to mitm.domains, or write "+
			"ports: [{port: 80}]", c.some(unseen), effect))
	}
}

// warnPassthrough recommends interception, once per rule. Names that the policy passes through on purpose are not meant.
func (c *checker) warnPassthrough(v *ruleView) {
	if v.rule.Action != ActionAllow || len(v.rule.HTTP) > 0 || plaintextOnly(v.rule.Ports) {
		return
	}
	var open []Host
	for _, host := range c.unseen(v.hosts) {
		if host.Kind != HostIP && !c.passthrough.covers(host) {
			open = append(open, host)
		}
	}
	if len(open) > 0 {
		c.warnOf(v, "hosts", fmt.Sprintf("TLS to %s passes through unseen, so that another Host can hide inside; add the names to "+
			"mitm.domains", c.some(open)))
	}
}

func (c *checker) warnBestEffort(v *ruleView) {
	if v.rule.Action == ActionDeny && len(v.hosts) > 0 && c.spec.Egress.DefaultAction == ActionAllow {
		c.warnOf(v, "hosts", "with defaultAction Allow a client gets around a denied name with another name or none; write "+
			"defaultAction: Deny and allow what is needed")
	}
}

// warnPrefixes says that an allowed prefix is one of characters, not of segments.
func (c *checker) warnPrefixes(v *ruleView) {
	if v.rule.Action != ActionAllow {
		return
	}
	for i := range v.rule.HTTP {
		for j, match := range v.rule.HTTP[i].Paths {
			if match.Prefix == nil || strings.HasSuffix(*match.Prefix, "/") {
				continue
			}
			c.warn(v.path.Child("http").Index(i).Child("paths").Index(j).Child("prefix"), fmt.Sprintf(
				"rule %q: allows %sx as well; end the prefix with / and add an exact path if needed", v.name, *match.Prefix))
		}
	}
}

// unseen are the hosts whose TLS is not intercepted, or not all of it.
func (c *checker) unseen(hosts []Host) []Host {
	var unseen []Host
	for _, host := range hosts {
		if !c.domains.covers(host) || c.passthrough.covers(host) {
			unseen = append(unseen, host)
		}
	}
	return unseen
}

// warnUnallowed says which intercepted domains no rule lets through.
func (c *checker) warnUnallowed(path *field.Path) {
	if c.spec.Egress.DefaultAction != ActionDeny || c.allowsAny {
		return
	}
	for _, d := range c.parsed {
		if !c.allowed.meets(d.Domain) && !c.cidrsAllow(d.Domain) {
			c.warn(path.Index(d.index), fmt.Sprintf("%q is intercepted, but no rule allows it; add a rule or remove it", d.Domain))
		}
	}
}

// cidrsAllow is generous for names: they may have any address.
func (c *checker) cidrsAllow(domain Domain) bool {
	for _, prefix := range c.allowedCIDRs {
		if !domain.Addr.IsValid() || prefix.Contains(domain.Addr) {
			return true
		}
	}
	return false
}

// some names the first of many.
func (c *checker) some(hosts []Host) string {
	const most = 3
	names := make([]string, 0, most)
	for i, host := range hosts {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), len(hosts)-most)
		}
		names = append(names, c.spell(host))
	}
	return strings.Join(names, ", ")
}

// spell names the part of an unseen host that is unseen.
func (c *checker) spell(host Host) string {
	switch {
	case host.Kind == HostAny:
		return "any other name"
	case host.Kind == HostSuffix && c.domains.wildcards[host.Name]:
		return "*.*." + host.Name
	}
	return host.String()
}

// plaintextOnly reports whether all ports are ones where TLS would be a surprise.
func plaintextOnly(ports []PortRange) bool {
	for _, p := range ports {
		if p.Last() != p.Port || p.Port != 80 && p.Port != 8080 {
			return false
		}
	}
	return len(ports) > 0
}

// otherProtocols names the protocols of single ports on which neither TLS nor HTTP comes first. Ranges are not about one
// service.
func otherProtocols(ports []PortRange) string {
	var found []string
	for _, p := range ports {
		if name := protocol(p.Port); name != "" && p.Last() == p.Port {
			found = append(found, name)
		}
	}
	return strings.Join(found, ", ")
}

func protocol(port int32) string {
	switch port {
	case 21:
		return "FTP (21)"
	case 22:
		return "SSH (22)"
	case 23:
		return "Telnet (23)"
	case 25, 587:
		return fmt.Sprintf("SMTP (%d)", port)
	case 110, 143:
		return fmt.Sprintf("STARTTLS mail (%d)", port)
	case 389:
		return "LDAP (389)"
	case 1433:
		return "SQL Server (1433)"
	case 1521:
		return "Oracle (1521)"
	case 3306:
		return "MySQL (3306)"
	case 5432:
		return "PostgreSQL (5432)"
	case 6379:
		return "Redis (6379)"
	case 11211:
		return "Memcached (11211)"
	case 27017:
		return "MongoDB (27017)"
	}
	return ""
}
