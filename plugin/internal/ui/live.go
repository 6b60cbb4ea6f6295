package ui

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Live shows a text that changes. In a terminal a new version takes the place of the old one, in one write, so that nothing
// flickers; elsewhere every version is printed behind the one before.
type Live struct {
	w     io.Writer
	shown int    // lines on the screen
	last  string // text
}

// NewLive makes a Live for a stream.
func NewLive(w io.Writer) *Live { return &Live{w: w} }

// Draw shows a version. One that is equal to the last is not drawn again.
func (l *Live) Draw(text string) error {
	if text == l.last {
		return nil
	}
	columns, rows := screen(l.w)
	if rows == 0 {
		separator := ""
		if l.last != "" {
			separator = "\n"
		}
		l.last = text
		_, err := fmt.Fprint(l.w, separator+text)
		return err
	}
	l.last = text
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) >= rows {
		lines = append(lines[:max(0, rows-2)], fmt.Sprintf("... %d more lines", len(lines)-max(0, rows-2)))
	}
	var b strings.Builder
	if l.shown > 0 {
		fmt.Fprintf(&b, "\x1b[%dF", l.shown)
	}
	l.shown = 0
	for _, line := range lines {
		// Clearing behind each line instead of the screen before: what stays the same never disappears.
		b.WriteString(line + "\x1b[K\n")
		l.shown += 1 + max(0, visible(line)-1)/max(1, columns)
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(l.w, b.String())
	return err
}

// Update shows progress on a terminal, where it takes the place of what was there; elsewhere it would only fill a log. Nothing
// is left of it after an empty text.
func (l *Live) Update(text string) {
	if _, rows := screen(l.w); rows == 0 {
		return
	}
	if text == "" && l.shown > 0 {
		fmt.Fprintf(l.w, "\x1b[%dF\x1b[J", l.shown)
		l.shown, l.last = 0, ""
		return
	}
	_ = l.Draw(text) // a terminal that is gone needs no progress
}

// screen is 0 rows for what is no terminal.
func screen(w io.Writer) (columns, rows int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}
