package lab

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// World says who lives where on the lab's Internet: names, their addresses and
// the certificates that follow from them. It is safe for concurrent use.
type World struct {
	ca *Authority

	mu        sync.RWMutex
	names     map[string][]netip.Addr
	owners    map[netip.Addr][]string
	overrides map[string][]netip.Addr
	families  []Family
	next      int
	ech       []tls.EncryptedClientHelloKey
	// failing says that the DNS server has no answers.
	failing bool
	// beyond answers for names that are not the Internet's.
	beyond func(name string) (addrs []netip.Addr, known bool)
}

// Addresses of somebody who wants the workload's secrets. No name leads there
// unless a test says so.
var (
	Attacker4 = netip.AddrFrom4([4]byte{203, 0, 113, 66})
	Attacker6 = netip.MustParseAddr("2001:db8:bad::66")
)

// NewWorld is an Internet with both families that nobody serves yet.
func NewWorld() (*World, error) {
	ca, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	return newWorld(ca, IPv4, IPv6), nil
}

func newWorld(ca *Authority, families ...Family) *World {
	w := &World{ca: ca, families: families}
	w.Reset()
	return w
}

// Reset forgets all names and overrides.
func (w *World) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names, w.owners, w.overrides, w.next = map[string][]netip.Addr{}, map[netip.Addr][]string{}, map[string][]netip.Addr{}, 0
}

// CAPEM is the certificate of the authority that signs the upstreams'
// certificates. The proxy has to trust it.
func (w *World) CAPEM() []byte { return w.ca.CertificatePEM() }

// Add gives name (an exact name, or "*.x" for everything below x) its
// addresses; without addresses it gets one of 198.51.100.0/24 or 192.0.2.0/24
// and one of 2001:db8::/32 of its own. It returns the addresses. Adding a name
// again without addresses changes nothing.
func (w *World) Add(name string, addrs ...netip.Addr) []netip.Addr {
	name = canonical(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	old, known := w.names[name]
	if known && len(addrs) == 0 {
		return old
	}
	if len(addrs) == 0 {
		addrs = w.assign()
	}
	for _, a := range old {
		w.owners[a] = slices.DeleteFunc(w.owners[a], func(n string) bool { return n == name })
	}
	w.names[name] = addrs
	for _, a := range addrs {
		w.owners[a] = append(w.owners[a], name)
	}
	return addrs
}

// assign takes the next free pair of addresses. After 506 names the IPv4
// addresses are shared, as on a real content network; IPv6 is never shared.
func (w *World) assign() []netip.Addr {
	n := w.next % 506
	v4 := [4]byte{198, 51, 100, byte(1 + n)}
	if n >= 253 {
		v4 = [4]byte{192, 0, 2, byte(1 + n - 253)}
	}
	v6 := [16]byte{0x20, 1, 0x0d, 0xb8, 0, 1, 13: byte(w.next >> 8), 14: byte(w.next), 15: 1}
	w.next++
	out := []netip.Addr{netip.AddrFrom4(v4)}
	if slices.Contains(w.families, IPv6) {
		out = append(out, netip.AddrFrom16(v6))
	}
	return out
}

// Override makes the DNS server answer name with addrs, whoever they belong
// to, until [World.ClearOverrides]. No address means: no such name.
func (w *World) Override(name string, addrs ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overrides[canonical(name)] = addrs
}

// FailDNS lets the DNS server answer with failures only, until end is called.
func (w *World) FailDNS() (end func()) {
	set := func(failing bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failing = failing
	}
	set(true)
	return func() { set(false) }
}

func (w *World) fails() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.failing
}

// ClearOverrides ends all overrides.
func (w *World) ClearOverrides() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.overrides)
}

// Lookup answers like the DNS server. known is false for a name that does not
// exist.
func (w *World) Lookup(name string) (addrs []netip.Addr, known bool) {
	name = canonical(name)
	w.mu.RLock()
	defer w.mu.RUnlock()
	if addrs, ok := w.overrides[name]; ok {
		return addrs, len(addrs) > 0
	}
	return w.lookup(name)
}

// lookup is Lookup without overrides.
func (w *World) lookup(name string) (addrs []netip.Addr, known bool) {
	if addrs, ok := w.names[name]; ok {
		return addrs, true
	}
	for rest := name; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok && w.beyond != nil {
			return w.beyond(name)
		}
		if !ok {
			return nil, false
		}
		if addrs, ok := w.names["*."+after]; ok {
			return addrs, true
		}
		rest = after
	}
}

// Delegate has the DNS server ask beyond for names that the Internet does not have, such as those of a cluster. The name is
// in lower case and without the last dot.
func (w *World) Delegate(beyond func(name string) (addrs []netip.Addr, known bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beyond = beyond
}

// Addr returns the address at which name lives, whatever the DNS server says,
// or an error that names what is missing.
func (w *World) Addr(name string, family Family) (netip.Addr, error) {
	w.mu.RLock()
	addrs, _ := w.lookup(canonical(name))
	w.mu.RUnlock()
	for _, a := range addrs {
		if familyOf(a) == family {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the lab's Internet has no address of %s for %q", family, name)
}

// Owners are the names that live at a.
func (w *World) Owners(a netip.Addr) []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.Clone(w.owners[a.Unmap()])
}

// Owns reports whether a is an address of name: one of its own, or the address
// itself when name is one.
func (w *World) Owns(name string, a netip.Addr) bool {
	if literal, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return literal.Unmap() == a.Unmap()
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	name = canonical(name)
	if addrs, ok := w.names[name]; ok {
		return slices.Contains(addrs, a.Unmap())
	}
	for _, owner := range w.owners[a.Unmap()] {
		if below, ok := strings.CutPrefix(owner, "*"); ok && strings.HasSuffix(name, below) {
			return true
		}
	}
	return false
}

func canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// OfferECH makes the upstreams accept encrypted ClientHellos with these keys
// (RFC 9849). No key ends it.
func (w *World) OfferECH(keys ...tls.EncryptedClientHelloKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ech = keys
}

func (w *World) echKeys() []tls.EncryptedClientHelloKey {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.ech
}
