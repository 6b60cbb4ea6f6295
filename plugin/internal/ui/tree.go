package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/tree"
)

// Node is a line of a tree. Note stands behind the text, fainter: where it comes from.
type Node struct {
	Text     string
	Tone     Tone
	Note     string
	Children []Node
}

// Add appends a child and returns it. The pointer is good until the next Add.
func (n *Node) Add(text, note string) *Node {
	n.Children = append(n.Children, Node{Text: text, Note: note})
	return &n.Children[len(n.Children)-1]
}

// indent is the width of one level.
const indent = 4

// minWidth is how narrow a text may become before it sticks out of the terminal instead.
const minWidth = 24

// Tree draws a node with everything below it, and ends in a line break.
func (u *Renderer) Tree(root Node) string {
	return trimLines(u.tree(root, 0).String()) + "\n"
}

func (u *Renderer) tree(n Node, depth int) *tree.Tree {
	t := tree.Root(u.line(n, depth)).EnumeratorStyle(u.style(Faint).PaddingRight(1)).RootStyle(u.r.NewStyle()).ItemStyle(u.r.NewStyle())
	for _, child := range n.Children {
		if len(child.Children) == 0 {
			t.Child(u.line(child, depth+1))
			continue
		}
		t.Child(u.tree(child, depth+1))
	}
	return t
}

// line wraps at the width that is left at its depth.
func (u *Renderer) line(n Node, depth int) string {
	text := u.Paint(n.Tone, n.Text)
	if n.Note != "" {
		text += "  " + u.Paint(Faint, n.Note)
	}
	if u.width == 0 {
		return text
	}
	left := max(u.width-indent*depth, minWidth)
	if lipgloss.Width(text) <= left {
		return text
	}
	return u.r.NewStyle().Width(left).Render(text)
}

// trimLines removes the spaces that fill lines up: they would wrap in a terminal and show up in golden files.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// visible is the number of columns that a line takes.
func visible(line string) int { return lipgloss.Width(line) }
