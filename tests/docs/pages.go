// Package docs reads the pages of the documentation, so that its tests can hold them against the program.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// page is a Markdown file.
type page struct {
	path string // from the root of the repository
	text string
}

// block is fenced code; line is the number of its first line.
type block struct {
	language string
	text     string
	line     int
}

// pages are README.md, CONTRIBUTING.md and docs/*.md.
func pages(root string) ([]page, error) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	files = append(files, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"))
	var out []page
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return nil, err
		}
		out = append(out, page{rel, string(data)})
	}
	return out, nil
}

// split separates fenced code from prose, in which the code leaves empty lines.
func (p page) split() (prose string, blocks []block) {
	var b strings.Builder
	var current *block
	for i, line := range strings.Split(p.text, "\n") {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && current == nil:
			current = &block{language: language, line: i + 2}
		case fence:
			blocks = append(blocks, *current)
			current = nil
		case current != nil:
			current.text += line + "\n"
		default:
			b.WriteString(line)
		}
		b.WriteString("\n")
	}
	return b.String(), blocks
}

// links are the targets of links in prose.
func links(prose string) []string {
	var out []string
	for _, match := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(inline.ReplaceAllString(prose, "code"), -1) {
		out = append(out, match[1])
	}
	return out
}

var inline = regexp.MustCompile("`[^`\n]+`")

// anchors are the names that GitHub gives to the headings.
func (p page) anchors() map[string]bool {
	out := map[string]bool{}
	prose, _ := p.split()
	for line := range strings.Lines(prose) {
		heading := strings.TrimLeft(line, "#")
		if heading == line {
			continue
		}
		text := strings.ToLower(strings.TrimSpace(heading))
		text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(text, "")
		out[strings.ReplaceAll(text, " ", "-")] = true
	}
	return out
}

// commands are the command lines of the plugin, in code of both kinds.
func (p page) commands() [][]string {
	prose, blocks := p.split()
	var texts []string
	for _, code := range inline.FindAllString(prose, -1) {
		texts = append(texts, strings.Trim(code, "`"))
	}
	for _, b := range blocks {
		texts = append(texts, strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n")...)
	}
	var out [][]string
	for _, text := range texts {
		for _, words := range shell(text) {
			if len(words) > 1 && words[0] == "kubectl" && words[1] == "netproxy" {
				out = append(out, words[2:])
			}
		}
	}
	return out
}

// shell splits a line into its commands and their words. It knows quotes, comments, pipes, lists, redirections and substitutions
// as far as the documentation uses them.
func shell(line string) [][]string {
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	var commands [][]string
	var words []string
	end := func() {
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	for _, token := range token.FindAllString(line, -1) {
		switch {
		case strings.HasPrefix(token, "#"):
			end()
			return commands
		case strings.Trim(token, "|&;()") == "" || token == "<(" || token == "$(":
			end()
		case strings.HasPrefix(token, ">") || strings.HasPrefix(token, "2>"):
			// where output goes
		case token == "...":
			// and so on
		default:
			words = append(words, unquote(token))
		}
	}
	end()
	return commands
}

var token = regexp.MustCompile(`#.*$|<\(|\$\(|&&|\|\||[|;()]|2?>\s*\S+|(?:'[^']*'|"[^"]*"|[^\s'"|;()#])(?:'[^']*'|"[^"]*"|[^\s'"|;()])*`)

func unquote(token string) string {
	return strings.NewReplacer("'", "", `"`, "").Replace(token)
}
