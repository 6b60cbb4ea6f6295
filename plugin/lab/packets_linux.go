package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packetIgnoreOutgoing is PACKET_IGNORE_OUTGOING of linux/if_packet.h.
const packetIgnoreOutgoing = 23

// packetLog records every packet from a pod that is neither TCP nor needed for
// IPv6 itself: there UDP, ICMP, SCTP and the like would leak.
type packetLog struct{ file *os.File }

func startPacketLog(l *Ledger) (*packetLog, error) {
	all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	err = attach(fd)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, packetIgnoreOutgoing, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch the pods' packets: %w", err)
	}
	p := &packetLog{file: os.NewFile(uintptr(fd), "packets")}
	go p.read(l)
	return p, nil
}

// attach keeps TCP, which is most of the traffic, in the kernel.
func attach(fd int) error {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 4, SkipFalse: 2},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.Jump{Skip: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 6, SkipTrue: 2},
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 16},
	})
	if err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(&raw[0]))}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
}

func (p *packetLog) read(l *Ledger) {
	buf := make([]byte, 1<<16)
	for {
		n, err := p.file.Read(buf)
		if err != nil {
			return
		}
		if e, ok := parsePacket(buf[:n]); ok {
			l.add(e)
		}
	}
}

// parsePacket reads addresses, protocol and UDP ports of an IP packet. Not
// every one is an entry: TCP, fragments without a header and IPv6's own
// housekeeping are not.
func parsePacket(b []byte) (Entry, bool) {
	var from, to netip.Addr
	var proto byte
	var payload []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4:
		from, to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		proto, payload = b[9], b[int(b[0]&15)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		from, to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		proto, payload = b[6], b[40:]
	default:
		return Entry{}, false
	}
	if to.IsLinkLocalMulticast() || from.IsLinkLocalUnicast() && to.Is6() || housekeeping(proto, payload) {
		return Entry{}, false
	}
	e := Entry{Kind: Packet, Proto: protoName(proto), From: netip.AddrPortFrom(from, 0), To: netip.AddrPortFrom(to, 0)}
	if proto == unix.IPPROTO_UDP && len(payload) >= 8 {
		e.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(payload))
		e.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(payload[2:]))
		payload = payload[8:]
	}
	e.Raw = append([]byte{}, payload[:min(len(payload), maxRaw)]...)
	return e, true
}

// housekeeping is router and neighbour discovery (RFC 4861).
func housekeeping(proto byte, payload []byte) bool {
	return proto == unix.IPPROTO_TCP ||
		proto == unix.IPPROTO_ICMPV6 && len(payload) > 0 && payload[0] >= 133 && payload[0] <= 137
}

func protoName(p byte) string {
	switch p {
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "icmpv6"
	}
	return fmt.Sprintf("ip protocol %d", p)
}

func (p *packetLog) close() error { return p.file.Close() }
