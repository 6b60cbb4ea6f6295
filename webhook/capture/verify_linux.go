package capture

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
)

// Verify reads the table back and compares it with rs: base chains with hook, priority and policy, and in each the rules
// in their order. Rules are compared by comment and number of expressions, as kernels differ in how they print them. A
// runtime that takes netlink messages and does nothing with them is found this way.
func Verify(conn *nftables.Conn, rs Ruleset) error {
	chains, err := conn.ListChainsOfTableFamily(rs.table().Family)
	if err != nil {
		return fmt.Errorf("read back chains: %w", err)
	}
	for _, want := range rs.Chains {
		got := find(chains, rs.Table, want.Name)
		if got == nil {
			return fmt.Errorf("chain %s of table %s is not there after it was programmed", want.Name, rs.Table)
		}
		if err := verifyChain(conn, rs, want, got); err != nil {
			return fmt.Errorf("chain %s of table %s: %w", want.Name, rs.Table, err)
		}
	}
	return nil
}

func find(chains []*nftables.Chain, table, name string) *nftables.Chain {
	for _, c := range chains {
		if c.Table.Name == table && c.Name == name {
			return c
		}
	}
	return nil
}

func verifyChain(conn *nftables.Conn, rs Ruleset, want Chain, got *nftables.Chain) error {
	native := want.native(rs.table())
	switch {
	case got.Type != native.Type, got.Hooknum == nil || *got.Hooknum != *native.Hooknum,
		got.Priority == nil || *got.Priority != *native.Priority, got.Policy == nil || *got.Policy != *native.Policy:
		return fmt.Errorf("its type, hook, priority or policy is not %s %s %d %s", want.Type, want.Hook, want.Priority, want.Policy)
	}
	rules, err := conn.GetRules(got.Table, got)
	if err != nil {
		return fmt.Errorf("read back rules: %w", err)
	}
	if len(rules) != len(want.Rules) {
		return fmt.Errorf("%d rules are there, want %d", len(rules), len(want.Rules))
	}
	for i, r := range want.Rules {
		exprs, err := r.compile(rs.Family)
		if err != nil {
			return err
		}
		if !bytes.Equal(rules[i].UserData, r.userData()) || len(rules[i].Exprs) != len(exprs) {
			return fmt.Errorf("rule %d is not %q", i+1, r)
		}
	}
	return nil
}
