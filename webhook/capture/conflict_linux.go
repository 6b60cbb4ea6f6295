package capture

import (
	"fmt"

	"github.com/google/nftables"
)

// Conflict names rules of somebody else that change the destination of outgoing connections in the same network namespace.
// Of two such rules the one that was programmed first wins, and the other's connections end nowhere.
type Conflict struct{ Where string }

// Conflicts lists the NAT chains for outgoing packets that have rules and are not netproxy's.
func Conflicts(conn *nftables.Conn) ([]Conflict, error) {
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", explain(err))
	}
	var found []Conflict
	for _, c := range chains {
		if c.Type != nftables.ChainTypeNAT || c.Table.Name == Table || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookOutput {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, fmt.Errorf("list rules of chain %s: %w", c.Name, err)
		}
		if len(rules) > 0 {
			found = append(found, Conflict{fmt.Sprintf("nftables table %s, chain %s", c.Table.Name, c.Name)})
		}
	}
	return found, nil
}
