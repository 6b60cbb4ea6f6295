// Package linediff compares texts line by line, as diff -u does.
package linediff

import (
	"fmt"
	"strings"
)

// context is how many equal lines stand around a change.
const context = 3

// tooMany bounds the table of the comparison: beyond it everything between the common ends is one change.
const tooMany = 16 << 20

// Op is what happened to a line.
type Op byte

// The operations, as diff -u marks them.
const (
	Same    Op = ' '
	Removed Op = '-'
	Added   Op = '+'
)

// Line is a line of the comparison.
type Line struct {
	Op   Op
	Text string
}

// Unified is empty for equal texts.
func Unified(fromName, toName, from, to string) []string {
	lines := compare(split(from), split(to))
	hunks := hunks(lines)
	if len(hunks) == 0 {
		return nil
	}
	out := []string{"--- " + fromName, "+++ " + toName}
	for _, h := range hunks {
		out = append(out, h...)
	}
	return out
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// compare finds a longest common subsequence between the common ends.
func compare(a, b []string) []Line {
	var head, tail []Line
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, Line{Same, a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append([]Line{{Same, a[len(a)-1]}}, tail...)
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return append(append(head, middle(a, b)...), tail...)
}

func middle(a, b []string) []Line {
	if len(a)*len(b) > tooMany {
		return append(all(Removed, a), all(Added, b)...)
	}
	length := make([][]int32, len(a)+1)
	for i := range length {
		length[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	var out []Line
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			out = append(out, Line{Same, a[i]})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			out = append(out, Line{Removed, a[i]})
			i++
		default:
			out = append(out, Line{Added, b[j]})
			j++
		}
	}
	return append(append(out, all(Removed, a[i:])...), all(Added, b[j:])...)
}

func all(op Op, lines []string) []Line {
	var out []Line
	for _, text := range lines {
		out = append(out, Line{op, text})
	}
	return out
}

// hunks are the changes with some lines around them.
func hunks(lines []Line) [][]string {
	var out [][]string
	fromLine, toLine := 1, 1
	for i := 0; i < len(lines); {
		if lines[i].Op == Same {
			i, fromLine, toLine = i+1, fromLine+1, toLine+1
			continue
		}
		start := max(0, i-context)
		end := hunkEnd(lines, i)
		before := i - start
		hunk, removed, added := []string{""}, 0, 0
		for _, l := range lines[start:end] {
			hunk = append(hunk, string(rune(l.Op))+l.Text)
			if l.Op != Added {
				removed++
			}
			if l.Op != Removed {
				added++
			}
		}
		hunk[0] = fmt.Sprintf("@@ -%d,%d +%d,%d @@", fromLine-before, removed, toLine-before, added)
		out = append(out, hunk)
		fromLine, toLine, i = fromLine-before+removed, toLine-before+added, end
	}
	return out
}

// hunkEnd is behind the last change that the next one follows closely, with its context.
func hunkEnd(lines []Line, at int) int {
	end, same := at, 0
	for i := at; i < len(lines); i++ {
		if lines[i].Op == Same {
			if same++; same > 2*context {
				break
			}
			continue
		}
		same, end = 0, i+1
	}
	return min(len(lines), end+context)
}
