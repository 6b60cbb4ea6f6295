package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
)

// gap is the space between two columns.
const gap = 2

// Table draws rows under headers like kubectl: columns without lines between them. In a terminal that is too narrow cells
// are wrapped, so that nothing is lost. It ends in a line break.
func (u *Renderer) Table(headers []string, rows [][]string) string {
	t := table.New().Border(lipgloss.HiddenBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).BorderColumn(false).BorderRow(false).
		Wrap(true).Headers(headers...).Rows(rows...)
	last := len(headers) - 1
	t.StyleFunc(func(row, col int) lipgloss.Style {
		style := u.r.NewStyle()
		if row == table.HeaderRow {
			style = u.style(Strong)
		}
		if col != last {
			style = style.PaddingRight(gap)
		}
		return style
	})
	if u.width > 0 && natural(headers, rows) > u.width {
		t.Width(u.width)
	}
	return strings.TrimRight(trimLines(t.String()), "\n") + "\n"
}

// natural is the width that the table takes if it may.
func natural(headers []string, rows [][]string) int {
	total := gap * (len(headers) - 1)
	for col := range headers {
		widest := lipgloss.Width(headers[col])
		for _, row := range rows {
			if col < len(row) {
				widest = max(widest, lipgloss.Width(row[col]))
			}
		}
		total += widest
	}
	return total
}
