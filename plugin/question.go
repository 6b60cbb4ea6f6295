package plugin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// question is a request as a person writes it.
type question struct {
	xds.Request
	url string
}

// parseQuestion reads "[METHOD] URL". The path is kept as it is written: what a proxy makes of odd ones is a question
// worth asking, and net/url would clean or refuse them.
func parseQuestion(args []string) (*question, error) {
	q := &question{url: args[len(args)-1]}
	q.Method = "GET"
	if len(args) == 2 {
		q.Method = args[0]
	}
	if !isToken(q.Method) {
		return nil, fmt.Errorf("method %q: write a word such as GET; the request is [METHOD] URL", q.Method)
	}
	scheme, rest, ok := strings.Cut(q.url, "://")
	if !ok {
		return nil, fmt.Errorf("%q is no URL: write https://, http://, tls:// or tcp:// in front", q.url)
	}
	port, err := q.setScheme(scheme)
	if err != nil {
		return nil, err
	}
	authority, path := splitPath(rest)
	if err := q.setAuthority(authority, port); err != nil {
		return nil, fmt.Errorf("%s: %w", q.url, err)
	}
	if q.HTTP {
		q.Path = path
		return q, nil
	}
	if strings.Trim(path, "/") != "" || len(args) == 2 {
		return nil, fmt.Errorf("%s: methods and paths are HTTP: use https or http", q.url)
	}
	q.Method = ""
	return q, nil
}

// setScheme gives the port that the scheme stands for, 0 for none.
func (q *question) setScheme(scheme string) (uint16, error) {
	switch strings.ToLower(scheme) {
	case "https":
		q.TLS, q.HTTP = true, true
		return 443, nil
	case "http":
		q.HTTP = true
		return 80, nil
	case "tls":
		q.TLS = true
		return 443, nil
	case "tcp":
		return 0, nil
	}
	return 0, fmt.Errorf("scheme %q: write https, http, tls or tcp", scheme)
}

// splitPath gives "/" for no path; a fragment never leaves the client.
func splitPath(rest string) (authority, path string) {
	rest, _, _ = strings.Cut(rest, "#")
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return rest, "/"
	}
	if rest[i] == '?' {
		return rest[:i], "/" + rest[i:]
	}
	return rest[:i], rest[i:]
}

func (q *question) setAuthority(authority string, usual uint16) error {
	host, port, err := v1alpha1.ParseAuthority(authority)
	if err != nil {
		return err
	}
	if port == 0 {
		port = usual
	}
	if port == 0 {
		return errors.New("write the port, for example tcp://192.0.2.1:5432")
	}
	text := host
	addr, addrErr := netip.ParseAddr(host)
	if addrErr == nil && addr.Is6() {
		text = "[" + host + "]"
	}
	q.Dst = netip.AddrPortFrom(addr, port)
	if q.TLS && addrErr != nil {
		q.SNI = host // addresses are never sent as SNI (RFC 6066, section 3)
	}
	if q.HTTP {
		q.Host = text
		if port != usual {
			q.Host += ":" + strconv.Itoa(int(port))
		}
	}
	return nil
}

// isToken is what HTTP takes as a method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
