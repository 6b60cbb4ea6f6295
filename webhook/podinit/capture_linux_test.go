package podinit

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"github.com/netproxy/netproxy/webhook/capture"
)

// scenarioEnv turns the test binary into the init container of a pod: the process in a network namespace of its own.
const scenarioEnv = "PODINIT_TEST_SCENARIO"

// errNotTested is a scenario's word that this machine lacks something, exitNotTested how the process passes it on.
var errNotTested = errors.New("NOT TESTED")

const exitNotTested = 77

// scenarios return an error that says what is wrong.
func scenarios() map[string]func() error {
	return map[string]func() error{
		"twice": twice, "without IPv6": withoutIPv6, "kernel without IPv6": kernelWithoutIPv6, "no network": noNetwork,
		"service mesh": serviceMesh, "empty chain of others": emptyChain, "legacy": legacy, "proxy runs already": proxyRuns, "rules without effect": noEffect,
		"a node": node, "a node without IPv6": nodeIPv4, "a node without network": nodeNoNetwork, "a node with a mesh": nodeMesh,
	}
}

func TestMain(m *testing.M) {
	scenario := os.Getenv(scenarioEnv)
	if scenario == "" {
		os.Exit(m.Run())
	}
	err := scenarios()[scenario]()
	if err == nil {
		os.Exit(0)
	}
	fmt.Println(err)
	if errors.Is(err, errNotTested) {
		os.Exit(exitNotTested)
	}
	os.Exit(1)
}

func TestCapture(t *testing.T) {
	for name := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), scenarioEnv+"="+name)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
				t.Skipf("NOT TESTED: no user and network namespaces here: %v", err)
			case errors.As(err, &exit) && exit.ExitCode() == exitNotTested:
				t.Skip(string(out))
			case err != nil:
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// podFS is the machine's file system with the resolv.conf of a pod.
type podFS struct{ fs.FS }

func (p podFS) Open(name string) (fs.File, error) {
	if name == "etc/resolv.conf" {
		return fstest.MapFS{name: {Data: []byte("nameserver 10.96.0.10\nnameserver fd00::a\n")}}.Open(name)
	}
	return p.FS.Open(name)
}

func capturePod(action string) (string, error) {
	var log strings.Builder
	h := host{root: podFS{os.DirFS("/")}, log: &log}
	args := []string{"capture", "--uid=1073741900", "--redirect-port=15001", "--admin-port=15000", "--default-action=" + action}
	err := run(h, args)
	return log.String(), err
}

// network gives the pod a loopback interface and an interface with default routes.
func network(families ...string) error {
	if err := up("lo"); err != nil {
		return err
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer"}); err != nil {
		return err
	}
	if err := errors.Join(up("peer"), up("eth0")); err != nil {
		return err
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, family := range families {
		address := map[string]string{"4": "10.244.0.2/24", "6": "fd00:10:244::2/64"}[family]
		gateway := map[string]string{"4": "10.244.0.1", "6": "fd00:10:244::1"}[family]
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		addr.Flags |= syscall.IFA_F_NODAD
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)}
		if err := errors.Join(netlink.AddrAdd(link, addr), netlink.RouteAdd(route)); err != nil {
			return fmt.Errorf("address %s: %w", address, err)
		}
	}
	return nil
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// twice programs the rules two times and then looks at what they do.
func twice() error {
	if err := network("4", "6"); err != nil {
		return err
	}
	for _, action := range []string{"Allow", "Deny"} {
		if log, err := capturePod(action); err != nil || log != "" {
			return fmt.Errorf("%w %s", err, log)
		}
	}
	tables, err := (&nftables.Conn{}).ListTables()
	if err != nil || len(tables) != 1 {
		return fmt.Errorf("%d tables: %w", len(tables), err)
	}
	for _, to := range []string{"192.0.2.9:4444", "[2001:db8::9]:4444"} {
		if err := redirected(to); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		if err := send(to); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("UDP to %s: %w", to, err)
		}
	}
	return errors.Join(send("10.96.0.10:53"), send("[fd00::a]:53"))
}

// redirected connects somewhere and wants to arrive at the proxy's port.
func redirected(to string) error {
	loopback := "127.0.0.1"
	if netip.MustParseAddrPort(to).Addr().Is6() {
		loopback = "::1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "15001"))
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func send(to string) error {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 3 { // an ICMP answer shows at the next write
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func withoutIPv6() error {
	for _, scope := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/disable_ipv6", []byte("1"), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := network("4"); err != nil {
		return err
	}
	if _, err := capturePod("Deny"); err != nil {
		return err
	}
	return redirected("192.0.2.9:4444")
}

// kernelWithoutIPv6 programs the table that such a kernel gets.
func kernelWithoutIPv6() error {
	if err := network("4"); err != nil {
		return err
	}
	o, err := parseCapture([]string{"--uid=1337", "--redirect-port=15001", "--admin-port=15000", "--default-action=Allow"})
	if err != nil {
		return err
	}
	rules, err := o.rules(host{root: podFS{os.DirFS("/")}})
	if err != nil {
		return err
	}
	conn := &nftables.Conn{}
	rules = rules.ForIPv4()
	if err := errors.Join(capture.Apply(conn, rules), capture.Verify(conn, rules)); err != nil {
		return err
	}
	if err := redirected("192.0.2.9:4444"); err != nil {
		return err
	}
	if err := send("169.254.169.254:80"); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("UDP to the metadata service: %w", err)
	}
	if strings.Contains(rules.String(), "ip6") || strings.Contains(rules.String(), "icmpv6") {
		return fmt.Errorf("IPv6 in\n%s", rules)
	}
	return verifyFinds(conn, rules)
}

// verifyFinds is Verify's positive control.
func verifyFinds(conn *nftables.Conn, rules capture.Ruleset) error {
	changed := rules
	changed.Chains = slices.Clone(rules.Chains)
	changed.Chains[1].Policy = capture.Drop
	fewer := rules
	fewer.Chains = slices.Clone(rules.Chains)
	fewer.Chains[0].Rules = fewer.Chains[0].Rules[1:]
	renamed := rules
	renamed.Table = "other"
	for _, r := range []capture.Ruleset{changed, fewer, renamed} {
		if capture.Verify(conn, r) == nil {
			return errors.New("Verify takes other rules for these")
		}
	}
	return nil
}

func noNetwork() error {
	_, err := capturePod("Deny")
	return err
}

// otherNAT is what a service mesh's CNI plug-in leaves in a pod.
func otherNAT(exprs ...expr.Any) error {
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "nat"})
	chain := conn.AddChain(&nftables.Chain{Name: "OUTPUT", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	if len(exprs) > 0 {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	return conn.Flush()
}

func serviceMesh() error {
	if err := errors.Join(network("4"), otherNAT(&expr.Verdict{Kind: expr.VerdictAccept})); err != nil {
		return err
	}
	_, err := capturePod("Deny")
	if err == nil || !strings.Contains(err.Error(), "nftables table nat, chain OUTPUT") || !strings.Contains(err.Error(), "exclude the pod from the mesh") {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

func emptyChain() error {
	if err := errors.Join(network("4"), otherNAT()); err != nil {
		return err
	}
	_, err := capturePod("Deny")
	return err
}

// legacy makes a rule with the old iptables where it is installed.
func legacy() error {
	if err := network("4"); err != nil {
		return err
	}
	program, err := exec.LookPath("iptables-legacy")
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTested, err)
	}
	if out, err := exec.Command(program, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "REDIRECT", "--to-ports", "1").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: no ip_tables in this kernel: %w: %s", errNotTested, err, out)
	}
	if _, err := capturePod("Deny"); err == nil || !strings.Contains(err.Error(), "iptables-legacy, table nat") {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

// proxyRuns is the init container that runs once more while the sidecar is up.
func proxyRuns() error {
	if err := network("4", "6"); err != nil {
		return err
	}
	for _, loopback := range []string{"127.0.0.1:15001", "[::1]:15001"} {
		listener, err := net.Listen("tcp", loopback)
		if err != nil {
			return err
		}
		defer listener.Close()
	}
	_, err := capturePod("Deny")
	return err
}

// noEffect is the probe's positive control: without rules the connection arrives nowhere.
func noEffect() error {
	if err := network("4"); err != nil {
		return err
	}
	if err := probe(15001); err == nil || !strings.Contains(err.Error(), "does not arrive at 127.0.0.1:15001") {
		return fmt.Errorf("got %w", err)
	}
	return nil
}
