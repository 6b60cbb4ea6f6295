package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Bits of linux/netfilter/nf_conntrack_common.h: IPS_DST_NAT of a connection's
// status, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) of a packet's state.
const (
	dstNAT      = 1 << 5
	established = 1 << 1
)

// icmpAdminProhibited is code 13 of "destination unreachable" (RFC 1812 section 5.2.7.1).
const icmpAdminProhibited = 13

// protocolICMPv6 is the next-header number of ICMPv6 (RFC 4443).
const protocolICMPv6 = 58

// compile translates a rule to the expressions of the kernel's virtual machine.
func (r Rule) compile(family TableFamily) ([]expr.Any, error) {
	var out []expr.Any
	for _, m := range r.Matches {
		exprs, err := m.compile()
		if err != nil {
			return nil, fmt.Errorf("compile rule %q: %w", r, err)
		}
		out = append(out, exprs...)
	}
	verdict, err := r.Verdict.compile(family)
	if err != nil {
		return nil, fmt.Errorf("compile rule %q: %w", r, err)
	}
	return append(out, verdict...), nil
}

func (m Match) compile() ([]expr.Any, error) {
	op, opposite := expr.CmpOpEq, expr.CmpOpNeq
	if m.Negate {
		op, opposite = opposite, op
	}
	switch m.Key {
	case SocketUID:
		return meta(expr.MetaKeySKUID, op, binaryutil.NativeEndian.PutUint32(m.Num)), nil
	case OutLoopback:
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, "lo")
		return meta(expr.MetaKeyOIFNAME, op, name), nil
	case Protocol:
		return meta(expr.MetaKeyL4PROTO, op, []byte{byte(m.Num)}), nil
	case Family:
		return meta(expr.MetaKeyNFPROTO, op, []byte{byte(m.Num)}), nil
	case Source:
		return address(m.Prefix, op, 12, 8), nil
	case Destination:
		return address(m.Prefix, op, 16, 24), nil
	case DestinationPort:
		return append(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{byte(m.Num)}),
			payload(expr.PayloadBaseTransportHeader, 2, op, binary.BigEndian.AppendUint16(nil, m.Port))...), nil
	case ICMPv6Type:
		return append(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{protocolICMPv6}),
			payload(expr.PayloadBaseTransportHeader, 0, op, []byte{byte(m.Num)})...), nil
	case Reply:
		return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: []byte{1}}}, nil
	case Established:
		return bit(expr.CtKeySTATE, established, opposite), nil
	case Redirected:
		return bit(expr.CtKeySTATUS, dstNAT, opposite), nil
	}
	return nil, fmt.Errorf("unknown match %d", m.Key)
}

// bit tests one bit of a 32 bit property of the connection: whether it is set, for the operation "not equal" to zero.
func bit(key expr.CtKey, value uint32, op expr.CmpOp) []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(value), Xor: zero},
		&expr.Cmp{Op: op, Register: 1, Data: zero},
	}
}

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func payload(base expr.PayloadBase, offset uint32, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(data))},
		&expr.Cmp{Op: op, Register: 1, Data: data},
	}
}

// address compares the address at the given offset of the IPv4 or IPv6 header.
func address(p netip.Prefix, op expr.CmpOp, offset4, offset6 uint32) []expr.Any {
	p = p.Masked()
	family, offset := byte(unix.NFPROTO_IPV4), offset4
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, offset6
	}
	data := p.Addr().AsSlice()
	out := meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{family})
	out = append(out, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(data))})
	if !p.IsSingleIP() {
		out = append(out, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(data)), Mask: mask(p), Xor: make([]byte, len(data))})
	}
	return append(out, &expr.Cmp{Op: op, Register: 1, Data: data})
}

func mask(p netip.Prefix) []byte {
	out := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

func (v Verdict) compile(family TableFamily) ([]expr.Any, error) {
	switch v.Kind {
	case Accept:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}, nil
	case Drop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}, nil
	case Reset:
		return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}, nil
	case Prohibit:
		if family == OnlyV4 {
			return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpAdminProhibited}}, nil
		}
		return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}, nil
	case Redirect:
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, v.Port)},
			&expr.Redir{RegisterProtoMin: 1},
		}, nil
	}
	return nil, fmt.Errorf("unknown verdict %q", v.Kind)
}
