package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// raw sends a packet of an IP protocol (icmp is 1, sctp 132 ...) through a raw socket.
func raw(args []string) error {
	protocol, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	to, err := parse(args[1])
	if err != nil {
		return err
	}
	family := syscall.AF_INET
	if to.Is6() {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_RAW, protocol)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	if err := syscall.Sendto(fd, []byte("\x08\x00\xf7\xff\x00\x00\x00\x00escape"), 0, sockaddr(to)); err != nil {
		return fmt.Errorf("raw send: %w", err)
	}
	fmt.Println("ok sent")
	return nil
}

func sockaddr(a netip.Addr) syscall.Sockaddr {
	if a.Is4() {
		return &syscall.SockaddrInet4{Addr: a.As4()}
	}
	return &syscall.SockaddrInet6{Addr: a.As16()}
}

// packet sends a UDP packet over IPv4 as a frame on eth0, which goes around the packet filter of the IP layer.
func packet(args []string) error {
	to, err := parse(args[0])
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, syscall.ETH_P_IP))
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM, int(protocol))
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	link := &syscall.SockaddrLinklayer{Protocol: protocol, Ifindex: eth0.Index, Halen: 6}
	copy(link.Addr[:], neighbour())
	if err := syscall.Sendto(fd, udpPacket(ownAddress(eth0), to, uint16(port), args[2]), 0, link); err != nil {
		return fmt.Errorf("packet send: %w", err)
	}
	fmt.Println("ok sent")
	return nil
}

// neighbour is the hardware address of the gateway. The kernel knows it once the pod has sent anything out.
func neighbour() net.HardwareAddr {
	gateway := ""
	routes, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(routes)) {
		f := strings.Fields(line) // interface, destination, gateway
		if n, err := strconv.ParseUint(f[2], 16, 32); err == nil && f[1] == "00000000" {
			gateway = netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(n)))).String()
		}
	}
	table, _ := os.ReadFile("/proc/net/arp")
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); f[0] == gateway { // address, type, flags, hardware address
			mac, _ := net.ParseMAC(f[3])
			return mac
		}
	}
	return nil
}

func ownAddress(i *net.Interface) netip.Addr {
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{})
}

// udpPacket is an IPv4 packet (RFC 791) with a UDP datagram (RFC 768) without a checksum.
func udpPacket(from, to netip.Addr, port uint16, text string) []byte {
	header := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, syscall.IPPROTO_UDP, 0, 0}
	header = append(append(header, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(header[2:], uint16(28+len(text)))
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum+sum>>16))
	udp := binary.BigEndian.AppendUint16(nil, 40000)
	udp = binary.BigEndian.AppendUint16(udp, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	return append(append(header, append(udp, 0, 0)...), text...)
}
