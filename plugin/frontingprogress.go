package plugin

import (
	"fmt"

	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/plugin/lab/attack"
)

// progress counts attacks while they run, on a terminal.
type progress struct {
	u                *ui.Renderer
	live             *ui.Live
	total, seen, bad int
}

func (s *shell) newProgress(total int) *progress {
	return &progress{u: s.errorPainter(), live: ui.NewLive(s.ErrOut), total: total}
}

func (p *progress) row(row attack.Outcome) {
	p.seen++
	if row.Bad() {
		p.bad++
	}
	mark := p.u.Mark(ui.Good, "nothing leaked")
	if p.bad > 0 {
		mark = p.u.Mark(ui.Bad, fmt.Sprintf("%d bad", p.bad))
	}
	p.live.Update(fmt.Sprintf("  %d of %d  %s", p.seen, p.total, mark))
}

// end leaves no trace of it.
func (p *progress) end() { p.live.Update("") }
