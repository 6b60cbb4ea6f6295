package capture

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// ErrNoInet is wrapped by the error about a kernel without `inet` tables, that is one without IPv6: Ruleset.ForIPv4 is for it.
var ErrNoInet = errors.New("the kernel has no inet tables")

// Apply replaces the whole table with rs in one transaction: there is no
// moment at which only a part of the rules holds. The network namespace is the
// one of conn. It needs CAP_NET_ADMIN there and a kernel with nf_tables (NAT,
// redirect, reject and conntrack); the error says so when it is missing.
func Apply(conn *nftables.Conn, rs Ruleset) error {
	table := rs.table()
	// Deleting a table that does not exist is an error, adding one that exists is not.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range rs.Chains {
		if err := addChain(conn, table, rs.Family, c); err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("program table %s %s: %w", rs.Family, rs.Table, explain(err))
	}
	return nil
}

func (r Ruleset) table() *nftables.Table {
	family := nftables.TableFamilyINet
	if r.Family == OnlyV4 {
		family = nftables.TableFamilyIPv4
	}
	return &nftables.Table{Family: family, Name: r.Table}
}

func addChain(conn *nftables.Conn, table *nftables.Table, family TableFamily, c Chain) error {
	chain := conn.AddChain(c.native(table))
	for _, r := range c.Rules {
		exprs, err := r.compile(family)
		if err != nil {
			return err
		}
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs, UserData: r.userData()})
	}
	return nil
}

func (c Chain) native(table *nftables.Table) *nftables.Chain {
	hook, policy := nftables.ChainHookOutput, nftables.ChainPolicyAccept
	if c.Hook == Input {
		hook = nftables.ChainHookInput
	}
	if c.Policy == Drop {
		policy = nftables.ChainPolicyDrop
	}
	return &nftables.Chain{
		Name: c.Name, Table: table, Type: nftables.ChainType(c.Type), Hooknum: hook,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.Priority)), Policy: &policy,
	}
}

func (r Rule) userData() []byte { return userdata.AppendString(nil, userdata.TypeComment, r.Comment) }

func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w (needs CAP_NET_ADMIN: the injected container asks for it, so look which admission policy or runtime takes it away)", err)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%w: %w", ErrNoInet, err)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EPROTONOSUPPORT):
		return fmt.Errorf("%w (needs the kernel modules nf_tables, nft_nat, nft_redir, nft_reject_inet and nft_ct)", err)
	}
	return err
}
