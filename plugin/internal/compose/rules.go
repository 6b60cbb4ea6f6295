package compose

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// recordAll is the rule that only records: what learn works with.
const recordAll = "record-all"

type ruleBuilder struct {
	composed *Composed
	mitm     []string
	rules    []v1alpha1.Rule
	places   []*destination // of rules
	names    map[string]bool
}

func (b *ruleBuilder) add(flag string, action v1alpha1.Action, texts []string) error {
	var errs []error
	for _, text := range texts {
		d, err := parseDestination(text)
		if err == nil && action == v1alpha1.ActionAllow {
			err = b.visible(d)
		}
		if err != nil {
			errs = append(errs, flagError(flag, text, err))
			continue
		}
		at := b.place(action, d)
		b.composed.from(rulePath(at), flag, text)
	}
	return errors.Join(errs...)
}

func rulePath(i int) string { return "spec.egress.rules[" + strconv.Itoa(i) + "]" }

// visible refuses a rule that would never let anything through.
func (b *ruleBuilder) visible(d *destination) error {
	if d.http == nil || !d.hidden {
		return nil
	}
	for _, text := range b.mitm {
		domain, err := v1alpha1.ParseDomain(text)
		if err == nil && (domain.Matches(d.host) || strings.EqualFold(domain.String(), d.host)) {
			return nil
		}
	}
	return fmt.Errorf("methods and paths show only where TLS is intercepted: add --mitm %s, or leave them out", d.host)
}

// place puts a destination into the rule that already has it, or into a new one.
func (b *ruleBuilder) place(action v1alpha1.Action, d *destination) int {
	for i, have := range b.places {
		if b.rules[i].Action == action && have.sameTarget(d) {
			if d.http != nil {
				b.rules[i].HTTP = append(b.rules[i].HTTP, *d.http)
			}
			return i
		}
	}
	rule := v1alpha1.Rule{Name: b.name(action, d), Action: action, Ports: d.ports}
	if d.host != "" {
		rule.Hosts = []string{d.host}
	} else {
		rule.CIDRs = []string{d.cidr}
	}
	if d.http != nil {
		rule.HTTP = []v1alpha1.HTTPMatch{*d.http}
	}
	b.rules, b.places = append(b.rules, rule), append(b.places, d)
	return len(b.rules) - 1
}

// maxName is the length of a DNS label (RFC 1035), with room for a number.
const maxName = 58

// name is made of the destination, since it shows in audit records and denials.
func (b *ruleBuilder) name(action v1alpha1.Action, d *destination) string {
	text := strings.ReplaceAll(d.host+d.cidr, "*", "any")
	if action == v1alpha1.ActionDeny {
		text = "no-" + text
	}
	return UniqueName(b.names, text)
}

// UniqueName makes a rule's name of any text and remembers it in taken.
func UniqueName(taken map[string]bool, text string) string {
	base := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(text), "-")
	base = strings.Trim(base[:min(len(base), maxName)], "-")
	if base == "" || strings.HasPrefix(base, "rule-") {
		base = strings.TrimSuffix("to-"+base, "-")
	}
	name := base
	for i := 2; taken[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	taken[name] = true
	return name
}

func (b *ruleBuilder) resolution(text string) error {
	if text == "" {
		return nil
	}
	var found v1alpha1.Resolution
	for _, r := range []v1alpha1.Resolution{v1alpha1.ResolutionPublic, v1alpha1.ResolutionAny, v1alpha1.ResolutionClient} {
		if strings.EqualFold(text, string(r)) {
			found = r
		}
	}
	if found == "" {
		return flagError("resolution", text, errors.New("write public, any or client"))
	}
	for i := range b.rules {
		if len(b.rules[i].Hosts) > 0 && b.rules[i].Action == v1alpha1.ActionAllow {
			b.rules[i].Resolution = found
		}
	}
	return nil
}

func (b *ruleBuilder) audit(audit Audit) error {
	switch audit {
	case AuditDenied, "":
	case AuditRules:
		for i := range b.rules {
			b.rules[i].Audit = true
		}
	case AuditAll:
		b.rules = append(b.rules, v1alpha1.Rule{Name: UniqueName(b.names, recordAll), Audit: true})
	default:
		return flagError("audit", string(audit), errors.New("write denied, rules or all"))
	}
	return nil
}
