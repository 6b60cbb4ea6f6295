package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soGetInfo is IPT_SO_GET_INFO and IP6T_SO_GET_INFO (linux/netfilter_ipv4/ip_tables.h), infoSize the size of struct
// ipt_getinfo, in which the number of entries follows name, valid hooks, and two numbers for each of five hooks.
const (
	soGetInfo   = 64
	infoSize    = 84
	entriesAt   = 32 + 4 + 5*4 + 5*4
	maxNameSize = 31
)

// legacyTable is a table of the old iptables that can take connections away from nftables: by changing their destination,
// or by keeping them out of connection tracking.
type legacyTable struct {
	name string
	// empty is the number of entries without any rule: the policy of each built-in chain, and the end.
	empty uint32
}

func legacyTables() []legacyTable { return []legacyTable{{"nat", 5}, {"mangle", 6}, {"raw", 3}} }

// countEntries asks the kernel how many entries a table has.
type countEntries func(domain, level int, table string) (uint32, error)

// LegacyConflicts lists the tables of iptables-legacy in this thread's network namespace that have rules. proc is /proc.
// Tables that exist and are empty are fine: older kernels make them in every namespace once a module is loaded. Only tables that
// exist are asked about, as the question alone would make them.
func LegacyConflicts(proc fs.FS) ([]Conflict, error) { return legacyConflicts(proc, kernelEntries) }

func legacyConflicts(proc fs.FS, count countEntries) ([]Conflict, error) {
	var found []Conflict
	for _, family := range []struct {
		file, program string
		domain, level int
	}{
		{"thread-self/net/ip_tables_names", "iptables-legacy", unix.AF_INET, unix.SOL_IP},
		{"thread-self/net/ip6_tables_names", "ip6tables-legacy", unix.AF_INET6, unix.SOL_IPV6},
	} {
		data, err := fs.ReadFile(proc, family.file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", family.program, err)
		}
		present := strings.Fields(string(data))
		for _, table := range legacyTables() {
			if !slices.Contains(present, table.name) {
				continue
			}
			n, err := count(family.domain, family.level, table.name)
			if err != nil {
				return nil, fmt.Errorf("look into table %s of %s: %w", table.name, family.program, err)
			}
			if n > table.empty {
				found = append(found, Conflict{fmt.Sprintf("%s, table %s", family.program, table.name)})
			}
		}
	}
	return found, nil
}

// kernelEntries needs NET_ADMIN but, with a datagram socket, not NET_RAW.
func kernelEntries(domain, level int, table string) (uint32, error) {
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var info [infoSize]byte
	copy(info[:maxNameSize], table)
	size := uint32(infoSize)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), soGetInfo,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return binary.NativeEndian.Uint32(info[entriesAt:]), nil
}
