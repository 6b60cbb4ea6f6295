package audit

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Clean makes what a workload wrote safe to print: a control character could move the cursor or change colours.
func Clean(text string) string {
	if !strings.ContainsFunc(text, unsafeRune) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unsafeRune(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unsafeRune(r rune) bool { return !unicode.IsPrint(r) }

// URL is what was asked for, in the form that explain takes.
func (r *Record) URL() string {
	dst, _ := netip.ParseAddrPort(r.Destination)
	port := dst.Port()
	switch {
	case r.HTTP() && r.TLS():
		return "https://" + authority(r.Host, port, 443) + r.Path
	case r.HTTP():
		return "http://" + authority(r.Host, port, 80) + r.Path
	case r.SNI != "":
		return "tls://" + authority(r.SNI, port, 443)
	}
	return "tcp://" + r.Destination
}

// authority has the port if it is not the usual one. A Host may carry one itself.
func authority(host string, port, usual uint16) string {
	name, given, err := v1alpha1.ParseAuthority(host)
	if err != nil {
		return host
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if given != 0 {
		port = given
	}
	if port == 0 || port == usual {
		return name
	}
	return name + ":" + strconv.Itoa(int(port))
}

// ExplainArguments are the arguments of explain that ask why, behind the name of the policy or pod.
func (r *Record) ExplainArguments() []string {
	var out []string
	if r.HTTP() {
		out = append(out, r.Method)
	}
	out = append(out, r.URL())
	if dst, err := netip.ParseAddrPort(r.Destination); err == nil && r.Name() != r.Destination {
		out = append(out, "--ip", dst.Addr().String())
	}
	if r.TLS() && r.HTTP() && !strings.EqualFold(r.SNI, hostOf(r.Host)) {
		out = append(out, "--sni="+r.SNI)
	}
	if strings.HasPrefix(r.Protocol, "HTTP/2") {
		out = append(out, "--http2")
	}
	return out
}

func hostOf(authority string) string {
	host, _, err := v1alpha1.ParseAuthority(authority)
	if err != nil {
		return authority
	}
	return host
}

// Shell quotes arguments for a POSIX shell. What a workload wrote may end up in a command that somebody pastes.
func Shell(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	return strings.Join(quoted, " ")
}

func quote(arg string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool { return !plain(r) }) {
		return arg
	}
	return "'" + strings.ReplaceAll(Clean(arg), "'", `'\''`) + "'"
}

// Outcome is the rule and what the client saw.
func (r *Record) Outcome() string {
	out := "rule " + r.Rule
	if r.RecordedBy != "" {
		out += ", recorded by " + r.RecordedBy
	}
	switch {
	case r.Denied() && r.Status == 0:
		return out + ", closed"
	case r.Status != 0:
		return fmt.Sprintf("%s, %d", out, r.Status)
	}
	return out
}
