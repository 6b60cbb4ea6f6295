package lab

import (
	"net/netip"
	"testing"
)

func TestParseListener(t *testing.T) {
	for _, tc := range []struct {
		line string
		want string
	}{
		{"   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000", "127.0.0.1:15001"},
		{"   1: 00000000000000000000000001000000:3A98 00000000000000000000000000000000:0000 0A 0", "[::1]:15000"},
		{"   2: 0100007F:3A99 0100007F:1234 01 00000000:00000000", "invalid AddrPort"},
		{"  sl  local_address rem_address   st tx_queue", "invalid AddrPort"},
	} {
		got, _ := parseListener(tc.line)
		if got.String() != tc.want {
			t.Errorf("%q: %s, want %s", tc.line, got, tc.want)
		}
	}
}

func TestParsePacket(t *testing.T) {
	udp4 := "\x45\x00\x00\x1e\x00\x00\x00\x00\x40\x11\x00\x00\x0a\xf4\x00\x10\xcb\x00\x71\x42\x30\x39\x00\x35\x00\x0a\x00\x00hi"
	e, ok := parsePacket([]byte(udp4))
	if !ok || e.Proto != "udp" || e.From.String() != "10.244.0.16:12345" || e.To != netip.AddrPortFrom(Attacker4, 53) || string(e.Raw) != "hi" {
		t.Errorf("UDP over IPv4: %v %+v", ok, e)
	}
	if _, ok := parsePacket([]byte("\x45\x00")); ok {
		t.Error("half a header was taken for a packet")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x1e"))
	f.Add([]byte("\x16\x03\x03\x00\x02\x02\x28"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, ok := parsePacket(data); ok && !e.To.Addr().IsValid() {
			t.Error("a packet without a destination")
		}
		if peer, alert, err := readFlight(data); peer == nil && alert == nil && err == nil {
			t.Error("neither certificate nor alert nor error")
		}
		if a, ok := parseListener(string(data)); ok && !a.IsValid() {
			t.Error("a listener without an address")
		}
		if out := splitRecords(data, 3); len(out) > 0 && len(data) < recordHeader {
			t.Error("a record out of nothing")
		}
	})
}
