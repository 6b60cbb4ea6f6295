package plugin

import (
	"strings"

	"github.com/netproxy/netproxy/plugin/internal/ui"
)

// colorDiff paints a unified diff. It is empty for no lines.
func colorDiff(u *ui.Renderer, lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		tone := ui.Plain
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
			tone = ui.Strong
		case strings.HasPrefix(line, "@@"):
			tone = ui.Faint
		case strings.HasPrefix(line, "+"):
			tone = ui.Good
		case strings.HasPrefix(line, "-"):
			tone = ui.Bad
		}
		b.WriteString(u.Paint(tone, line) + "\n")
	}
	return b.String()
}
