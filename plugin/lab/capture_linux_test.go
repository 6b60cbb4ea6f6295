package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/netproxy/netproxy/webhook/capture"
)

// families of the attacker's address, as test parameters.
var attackers = []netip.Addr{Attacker4, Attacker6}

// listenAsProxy stands for Envoy: it answers every redirected connection with
// where the client wanted to go.
func listenAsProxy(t *testing.T, p *Pod, port uint16) {
	t.Helper()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		var ln net.Listener
		err := p.ns.do(func() (err error) {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			ln, err = lc.Listen(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(addr), port).String())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				dst, err := originalDestination(c)
				_, _ = fmt.Fprintf(c, "%s %v", dst, err)
				_ = c.Close()
			}
		}()
	}
}

// bare returns pod 1, in which no Envoy runs, with fresh rules.
func bare(t *testing.T, action capture.DefaultAction) (*Lab, *Pod) {
	t.Helper()
	l := testLab(t)
	if err := l.Pods[1].Capture(action); err != nil {
		t.Fatal(err)
	}
	return l, l.Pods[1]
}

func TestCaptureRedirectsTCP(t *testing.T) {
	_, p := bare(t, capture.Deny)
	listenAsProxy(t, p, RedirectPort)
	for _, addr := range attackers {
		for _, port := range []uint16{1, 22, 53, 443, AdminPort, RedirectPort, 65535} {
			dst := netip.AddrPortFrom(addr, port)
			res := p.Raw(t.Context(), dst, time.Second, 0)
			if want := dst.String() + " <nil>"; string(res.Data) != want {
				t.Errorf("to %s: got %q (%s, %v), want %q", dst, res.Data, res.Outcome, res.Err, want)
			}
		}
	}
}

func TestCaptureClosesOwnPorts(t *testing.T) {
	l, p := bare(t, capture.Allow)
	listenAsProxy(t, p, RedirectPort)
	listenAsProxy(t, p, AdminPort)
	listenAsProxy(t, p, 8080)
	for _, addr := range []string{"127.0.0.1", "::1", p.ProxyAddrs[0].String(), p.ProxyAddrs[1].String()} {
		for _, port := range []uint16{RedirectPort, AdminPort} {
			dst := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			if res := p.Raw(t.Context(), dst, time.Second, 0); res.Outcome != Refused {
				t.Errorf("%s is %s for the workload, want refused", dst, res.Outcome)
			}
		}
	}
	if res := p.Raw(t.Context(), netip.MustParseAddrPort("127.0.0.1:8080"), time.Second, 0); res.Outcome != Answered {
		t.Errorf("another loopback port: %s, %v", res.Outcome, res.Err)
	}
	c, err := DialFromInternet(t.Context(), netip.AddrPortFrom(p.ProxyAddrs[0], RedirectPort))
	if err == nil {
		_ = c.Close()
		t.Error("the redirect port is open for other hosts")
	}
	_ = l
}

func TestCaptureInbound(t *testing.T) {
	_, p := bare(t, capture.Deny)
	stop, err := p.Trap(t.Context(), 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stop() }()
	for _, addr := range p.ProxyAddrs {
		c, err := DialFromInternet(t.Context(), netip.AddrPortFrom(addr, 7000))
		if err != nil {
			t.Errorf("a server in the pod does not answer: %v", err)
			continue
		}
		_ = c.Close()
	}
}

func TestCaptureOtherProtocols(t *testing.T) {
	for _, tc := range []struct {
		action capture.DefaultAction
		port   uint16
		leaves bool
	}{
		{capture.Deny, 53, false}, {capture.Deny, 443, false}, {capture.Deny, 1234, false},
		{capture.Allow, 53, true}, {capture.Allow, 443, false}, {capture.Allow, 1234, true},
	} {
		l, p := bare(t, tc.action)
		for _, addr := range attackers {
			mark, token := l.Ledger.Mark(), NewToken()
			c, err := p.DialUDP(t.Context(), netip.AddrPortFrom(addr, tc.port))
			if err == nil {
				_, _ = c.Write([]byte(token))
				_ = c.Close()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			_, left := l.Ledger.Wait(ctx, mark, func(e Entry) bool { return e.Kind == Packet && e.Mentions(token) })
			cancel()
			if left != tc.leaves {
				t.Errorf("action %d: UDP to %s port %d leaves: %v, want %v", tc.action, addr, tc.port, left, tc.leaves)
			}
		}
		err := p.Ping(Attacker4, []byte("ping"))
		if got := err == nil; got != (tc.action == capture.Allow) {
			t.Errorf("action %d: ping: %v", tc.action, err)
		}
	}
}

func TestCaptureDNS(t *testing.T) {
	l, p := bare(t, capture.Deny)
	l.World.Add("dns.lab.example", netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77"))
	for _, resolver := range l.Resolvers() {
		for _, network := range []string{"udp", "tcp"} {
			addrs, err := p.Resolve(t.Context(), network, netip.AddrPortFrom(resolver, 53), "dns.lab.example")
			if err != nil || fmt.Sprint(addrs) != "[192.0.2.77 2001:db8::77]" {
				t.Errorf("%s %s: %v, %v", network, resolver, addrs, err)
			}
		}
	}
	l.World.Override("dns.lab.example", netip.MustParseAddr("10.0.0.1"))
	defer l.World.ClearOverrides()
	addrs, err := p.Resolve(t.Context(), "udp", netip.AddrPortFrom(l.Resolvers()[0], 53), "dns.lab.example")
	if err != nil || fmt.Sprint(addrs) != "[10.0.0.1]" {
		t.Errorf("after rebinding: %v, %v", addrs, err)
	}
	if _, err := p.Resolve(t.Context(), "udp", netip.AddrPortFrom(l.Resolvers()[0], 53), "nobody.example"); err == nil || !strings.Contains(err.Error(), "NXDOMAIN") {
		t.Errorf("unknown name: %v", err)
	}
}

// TestCaptureLetsClosedSocketsFinish: a closed socket has no UID, but its last
// bytes have to leave.
func TestCaptureLetsClosedSocketsFinish(t *testing.T) {
	if !hasUIDs() {
		t.Skip("the rule about the UID needs several UIDs")
	}
	l, p := bare(t, capture.Deny)
	exe, err := p.expose(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range attackers {
		mark := l.Ledger.Mark()
		dst := netip.AddrPortFrom(addr, 80)
		var out strings.Builder
		cmd := exec.Command(exe)
		cmd.Env, cmd.Stdout, cmd.Stderr = []string{orphanEnv + "=" + dst.String()}, io.Discard, &out
		if err := p.start(cmd, ProxyUID); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, ok := l.Ledger.Wait(ctx, mark, func(e Entry) bool { return e.To == dst && e.Received >= orphanSize })
		cancel()
		if !ok {
			t.Errorf("to %s: the upstream did not get everything", dst)
		}
	}
}
