package ui

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal of a size: what is written to the second shows at the first.
func terminal(t *testing.T, columns, rows uint16) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("NOT TESTED: no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	t.Cleanup(func() { _ = program.Close() })
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	return screen, program
}

// shown is what arrives at the screen: a terminal may deliver a text in pieces. It waits as long as that is only the beginning of
// what is wanted.
func shown(t *testing.T, screen *os.File, want string) string {
	t.Helper()
	var got strings.Builder
	buffer := make([]byte, 64<<10)
	for range 1000 {
		n, err := unix.Read(int(screen.Fd()), buffer)
		got.Write(buffer[:max(0, n)])
		text := strings.ReplaceAll(got.String(), "\r\n", "\n")
		switch {
		case n > 0 && len(text) < len(want):
		case n > 0:
			return text
		case err != unix.EAGAIN, want == "":
			return text
		}
		time.Sleep(time.Millisecond)
	}
	return got.String()
}

// TestLive: a new version takes the place of the old one without clearing the screen first, an equal one is not drawn, and one
// that is too tall is cut.
func TestLive(t *testing.T) {
	screen, program := terminal(t, 20, 6)
	l := NewLive(program)
	for _, step := range []struct{ text, want string }{
		{"one\ntwo\n", "one\x1b[K\ntwo\x1b[K\n\x1b[J"},
		{"one\ntwo\n", ""},
		{"one\nTWO\nthree\n", "\x1b[2Fone\x1b[K\nTWO\x1b[K\nthree\x1b[K\n\x1b[J"},
		{"a line that takes two of them\n", "\x1b[3Fa line that takes two of them\x1b[K\n\x1b[J"},
		{"end\n", "\x1b[2Fend\x1b[K\n\x1b[J"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n", "\x1b[1F1\x1b[K\n2\x1b[K\n3\x1b[K\n4\x1b[K\n... 4 more lines\x1b[K\n\x1b[J"},
	} {
		if err := l.Draw(step.text); err != nil {
			t.Fatal(err)
		}
		if got := shown(t, screen, step.want); got != step.want {
			t.Errorf("%q: %q, want %q", step.text, got, step.want)
		}
	}
}
