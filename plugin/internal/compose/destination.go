// Package compose makes policies out of the short forms that people type: 'POST https://api.openai.com/v1/*'. It is pure.
package compose

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// destination is what stands behind --allow and --deny.
type destination struct {
	host  string // name, pattern or IP literal; empty for a cidr
	cidr  string
	ports []v1alpha1.PortRange
	http  *v1alpha1.HTTPMatch // nil where every request is meant
	// hidden is true where HTTP shows only if the TLS is intercepted.
	hidden bool
}

// How the forms are written, for errors.
const forms = "write [METHOD[,METHOD]] https://HOST[:PORT][/PATH], http://HOST..., tls://HOST[:PORT], tcp://CIDR[:PORT[-PORT]], or a bare HOST"

// parseDestination reads one of the forms.
func parseDestination(text string) (*destination, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > 2 {
		return nil, errors.New(forms)
	}
	methods, url := "", fields[len(fields)-1]
	if len(fields) == 2 {
		methods = fields[0]
	}
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		scheme, rest = "bare", url
	}
	d := &destination{}
	var err error
	switch strings.ToLower(scheme) {
	case "https":
		d.hidden = true
		err = d.web(rest, 443, methods)
	case "http":
		err = d.web(rest, 80, methods)
	case "tls", "bare":
		err = d.bare(rest, methods)
	case "tcp":
		err = d.tcp(rest, methods)
	default:
		err = fmt.Errorf("scheme %q: write https, http, tls or tcp", scheme)
	}
	return d, err
}

// web reads HOST[:PORT][/PATH].
func (d *destination) web(rest string, usual int32, methods string) error {
	if strings.ContainsAny(rest, "?#") {
		return errors.New("queries and fragments are not compared: leave out what begins with ? or #")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if err := d.authority(authority, usual); err != nil {
		return err
	}
	match := v1alpha1.HTTPMatch{}
	if methods != "" {
		match.Methods = upper(strings.Split(methods, ","))
	}
	if err := setPath(&match, path); err != nil {
		return err
	}
	if len(match.Methods)+len(match.Paths) > 0 {
		d.http = &match
	}
	return nil
}

func upper(methods []string) []string {
	for i := range methods {
		methods[i] = strings.ToUpper(methods[i])
	}
	return methods
}

func setPath(match *v1alpha1.HTTPMatch, path string) error {
	prefix, isPrefix := strings.CutSuffix(path, "*")
	switch {
	case path == "" || path == "/*":
		return nil
	case path == "/":
		return errors.New("the path / alone is nearly never meant: leave out the last / for every path, or name one, such as /v1/*")
	case strings.Contains(prefix, "*"):
		return fmt.Errorf("path %q: * can stand at its end only", path)
	case isPrefix:
		match.Paths = []v1alpha1.PathMatch{{Prefix: &prefix}}
	default:
		match.Paths = []v1alpha1.PathMatch{{Exact: &path}}
	}
	return nil
}

func (d *destination) bare(rest, methods string) error {
	if methods != "" {
		return errors.New("methods are HTTP: write https:// or http:// in front of the host")
	}
	if strings.Contains(rest, "/") {
		if _, err := v1alpha1.ParseCIDR(strings.Trim(cutPort(rest), "[]")); err == nil {
			return d.tcp(rest, "")
		}
		return errors.New("paths are HTTP: write https:// or http:// in front of the host")
	}
	return d.authority(rest, 443)
}

// tcp reads an address or a cidr with ports.
func (d *destination) tcp(rest, methods string) error {
	if methods != "" {
		return errors.New("methods are HTTP: use https or http, or leave them out")
	}
	address, ports := rest, ""
	if _, err := netip.ParsePrefix(rest); err != nil {
		if address = cutPort(rest); address != rest {
			ports = rest[len(address)+1:]
		}
	}
	address = strings.Trim(address, "[]")
	if _, err := v1alpha1.ParseCIDR(address); err != nil {
		return fmt.Errorf("%w; raw TCP shows no name, only an address", err)
	}
	d.cidr = address
	return d.setPorts(ports)
}

// cutPort removes :PORT, but no part of an IPv6 address.
func cutPort(text string) string {
	if strings.Count(text, ":") > 1 && !strings.HasPrefix(text, "[") {
		return text
	}
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		return text[:i]
	}
	return text
}

// authority reads HOST[:PORT[-PORT]]; usual is the port without one.
func (d *destination) authority(text string, usual int32) error {
	host := cutPort(text)
	ports := strings.TrimPrefix(text[len(host):], ":")
	host = strings.Trim(host, "[]")
	if _, err := v1alpha1.ParseHost(host); err != nil {
		return err
	}
	d.host = host
	if ports == "" {
		d.ports = []v1alpha1.PortRange{{Port: usual}}
		return nil
	}
	return d.setPorts(ports)
}

func (d *destination) setPorts(text string) error {
	if text == "" {
		return nil
	}
	first, last, isRange := strings.Cut(text, "-")
	port, err := parsePort(first)
	if err != nil {
		return err
	}
	out := v1alpha1.PortRange{Port: port}
	if isRange {
		end, err := parsePort(last)
		if err != nil {
			return err
		}
		out.EndPort = &end
	}
	d.ports = []v1alpha1.PortRange{out}
	return nil
}

func parsePort(text string) (int32, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %q: write a number from 1 to 65535, or a range such as 6443-8000", text)
	}
	return int32(port), nil
}

// sameTarget: such destinations become one rule with several alternatives.
func (d *destination) sameTarget(other *destination) bool {
	return d.host == other.host && d.cidr == other.cidr && (d.http == nil) == (other.http == nil) && slices.EqualFunc(d.ports, other.ports, samePorts)
}

func samePorts(a, b v1alpha1.PortRange) bool { return a.Port == b.Port && a.Last() == b.Last() }
