package v1alpha1

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseAuthority reads what stands in a Host header or :authority: a name or an address, IPv6 in brackets, and perhaps a
// port. The host is as NormalizeName or netip writes it, without brackets; port 0 means none was given. User
// information, an empty port and ports outside 1-65535 are errors.
func ParseAuthority(s string) (host string, port uint16, err error) {
	host, port, err = parseAuthority(s)
	if err != nil {
		return "", 0, fmt.Errorf("authority %q: %w", s, err)
	}
	return host, port, nil
}

func parseAuthority(s string) (string, uint16, error) {
	name, rawPort, hasPort := cutPort(s)
	var port uint16
	if hasPort {
		var err error
		if port, err = parsePort(rawPort); err != nil {
			return "", 0, err
		}
	}
	if strings.Count(name, ":") > 0 && !strings.HasPrefix(name, "[") {
		return "", 0, errors.New("an IPv6 address without brackets; put it into [ ]")
	}
	addr, isAddr, err := parseLiteral(name)
	if isAddr {
		if err != nil {
			return "", 0, err
		}
		return addr.String(), port, nil
	}
	host, err := normalizeName(name)
	return host, port, err
}

// cutPort splits at the last colon that is not inside brackets.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("port %q; write 1 to 65535", s)
	}
	return uint16(port), nil
}
