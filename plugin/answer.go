package plugin

import (
	"fmt"
	"strings"

	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/xds"
)

// answer is a verdict for people.
func answer(u *ui.Renderer, c *chosen, q *question, v xds.Verdict) string {
	var b strings.Builder
	word := u.Mark(ui.Good, "ALLOWED")
	if v.Verdict == xds.Deny {
		word = u.Mark(ui.Bad, "DENIED")
	}
	fmt.Fprintf(&b, "%s  %s\n", word, u.Paint(ui.Strong, strings.TrimSpace(q.Method+" "+q.url)))
	for _, line := range answerLines(c, q, v) {
		fmt.Fprintf(&b, "  %-12s %s\n", line[0], line[1])
	}
	return b.String()
}

// answerLines are labels and texts; what does not apply is left out.
func answerLines(c *chosen, q *question, v xds.Verdict) [][2]string {
	lines := [][2]string{
		{"rule", fmt.Sprintf("%s (%s)", v.Rule, v.FieldPath)},
		{"why", v.Reason},
		{"client sees", clientSees(v)},
		{"chain", chainText(v)},
	}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, [2]string{label, text})
		}
	}
	add("injected", injectedText(c, v))
	if v.Verdict == xds.Allow {
		add("goes to", wayText(v.Upstream))
	}
	add("recorded by", strings.Join(v.Audit, ", "))
	add("nearest", v.NearestRule)
	add("note", unknownAddress(c, q))
	return lines
}

func clientSees(v xds.Verdict) string {
	switch {
	case v.Verdict == xds.Allow:
		return "the upstream's answer"
	case v.Status == 0:
		return "the connection closed, without a byte"
	}
	return fmt.Sprintf("%d with a JSON body", v.Status)
}

func chainText(v xds.Verdict) string {
	if v.Intercepted {
		return v.Chain + ", TLS is terminated"
	}
	return v.Chain
}

// injectedText says where each value comes from, never the value.
func injectedText(c *chosen, v xds.Verdict) string {
	var out []string
	for _, name := range v.Injected {
		out = append(out, name+c.sourceOf(name, v))
	}
	return strings.Join(out, ", ")
}

func (c *chosen) sourceOf(name string, v xds.Verdict) string {
	_, domain, _ := strings.Cut(v.Chain, "/") // intercept/ or intercept-address/
	for _, d := range c.plan.Domains {
		if domain != d.String() {
			continue
		}
		for _, h := range d.Headers {
			if h.Name == name {
				return " (" + headerSource(h) + ")"
			}
		}
	}
	return ""
}

func headerSource(h xds.Header) string {
	if h.Credential != nil {
		return fmt.Sprintf("Secret %s, key %s", h.Credential.Secret, h.Credential.Key)
	}
	return "value in the policy"
}

func wayText(way string) string {
	switch way {
	case "Public":
		return "the name as the proxy resolves it, public addresses only"
	case "Any":
		return "the name as the proxy resolves it, private addresses too"
	case "Client":
		return "the address that the client connects to"
	}
	return ""
}

// unknownAddress: rules with addresses cannot be judged without one.
func unknownAddress(c *chosen, q *question) string {
	if q.Dst.Addr().IsValid() {
		return ""
	}
	for i := range c.plan.Rules {
		if r := &c.plan.Rules[i]; len(r.Prefixes) > 0 && r.Ports.Contains(q.Dst.Port()) {
			return "the client's address is not known, and there are rules about addresses on this port: add --ip"
		}
	}
	return ""
}
