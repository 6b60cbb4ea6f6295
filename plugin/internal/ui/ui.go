// Package ui draws what people read: trees, tables and marked words. It is the only place that knows the terminal. Nothing
// in it is global: every stream has a Renderer of its own.
package ui

import (
	"fmt"
	"io"
	"os"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// ColorMode says when colours are written.
type ColorMode string

// The modes. Auto is the default: on a terminal, unless the environment says otherwise.
const (
	ColorAuto   ColorMode = "auto"
	ColorAlways ColorMode = "always"
	ColorNever  ColorMode = "never"
)

// ParseColorMode reads the value of --color.
func ParseColorMode(s string) (ColorMode, error) {
	switch mode := ColorMode(s); mode {
	case ColorAuto, ColorAlways, ColorNever:
		return mode, nil
	}
	return "", fmt.Errorf("--color %q: write auto, always or never", s)
}

// Environment looks up a variable, as os.LookupEnv does.
type Environment func(name string) (string, bool)

// Renderer draws for one stream.
type Renderer struct {
	r *lipgloss.Renderer
	// width is the number of columns, 0 where lines have no end.
	width int
}

// New makes the Renderer of a stream.
func New(w io.Writer, env Environment, mode ColorMode) *Renderer {
	columns, terminal := size(w)
	r := lipgloss.NewRenderer(w)
	r.SetColorProfile(termenv.Ascii)
	if colored(env, mode, terminal) {
		r.SetColorProfile(termenv.ANSI)
	}
	r.SetHasDarkBackground(true) // never ask the terminal: its answer would end up in the next prompt
	return &Renderer{r: r, width: columns}
}

// WithWidth is the Renderer for lines of so many columns.
func (u *Renderer) WithWidth(columns int) *Renderer { return &Renderer{r: u.r, width: columns} }

// colored: the flag beats the environment; NO_COLOR (no-color.org) beats CLICOLOR_FORCE, since who asks for no colour
// cannot bear it, and who asks for colour can do without.
func colored(env Environment, mode ColorMode, terminal bool) bool {
	if mode != ColorAuto {
		return mode == ColorAlways
	}
	if value, ok := env("NO_COLOR"); ok && value != "" {
		return false
	}
	if value, ok := env("CLICOLOR_FORCE"); ok && value != "" && value != "0" {
		return true
	}
	if value, ok := env("TERM"); ok && value == "dumb" {
		return false
	}
	value, ok := env("CLICOLOR")
	return terminal && (!ok || value != "0")
}

func size(w io.Writer) (columns int, terminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, true
	}
	return columns, true
}

// Tone is what a piece of text means, not what it looks like.
type Tone string

// The tones.
const (
	Plain  Tone = ""
	Strong Tone = "strong"
	Faint  Tone = "faint"
	Good   Tone = "good"
	Bad    Tone = "bad"
	Notice Tone = "notice"
)

// Paint gives text the look of its tone. Without colours it is the text itself.
func (u *Renderer) Paint(tone Tone, text string) string {
	return u.style(tone).Render(text)
}

func (u *Renderer) style(tone Tone) lipgloss.Style {
	style := u.r.NewStyle()
	switch tone {
	case Strong:
		return style.Bold(true)
	case Faint:
		return style.Faint(true)
	case Good:
		return style.Foreground(lipgloss.Color("2"))
	case Bad:
		return style.Bold(true).Foreground(lipgloss.Color("1"))
	case Notice:
		return style.Foreground(lipgloss.Color("3"))
	default:
		return style
	}
}

// Mark puts the symbol of its tone in front of a word. The symbol never stands alone: it says nothing to a screen reader
// or in a font that lacks it.
func (u *Renderer) Mark(tone Tone, word string) string {
	return u.Paint(tone, symbol(tone)+" "+word)
}

func symbol(tone Tone) string {
	switch tone {
	case Good:
		return "✓"
	case Bad:
		return "✗"
	case Notice:
		return "!"
	default:
		return "·"
	}
}
