package podinit

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
)

// maxResolvers is more than any resolver library asks (glibc and musl take three), and bounds the number of rules.
const maxResolvers = 16

// parseResolvers returns the name servers of a resolv.conf(5), without zone and duplicates, as resolver libraries read
// them: the keyword at the start of a line, and lines that make no sense are passed over.
func parseResolvers(data []byte) []netip.Addr {
	var found []netip.Addr
	seen := map[netip.Addr]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan() && len(found) < maxResolvers; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue
		}
		if addr = addr.WithZone("").Unmap(); !seen[addr] {
			seen[addr] = true
			found = append(found, addr)
		}
	}
	return found
}
