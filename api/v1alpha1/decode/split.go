package decode

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// part is one YAML document.
type part struct {
	// line is where it begins in the input, from 1.
	line int
	text []byte
}

// split cuts at lines that begin a document (YAML 1.2, section 9.1.2), so that later errors can name lines of the input.
func split(data []byte) []part {
	parts := []part{{line: 1}}
	line := 1
	for text := range bytes.Lines(data) {
		if isSeparator(text) {
			// The rest of a separator's line belongs to the document, and keeps its lines countable.
			parts = append(parts, part{line: line})
			text = text[len("---"):]
		}
		last := &parts[len(parts)-1]
		last.text = append(last.text, text...)
		line++
	}
	return parts
}

func isSeparator(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// locate turns the line numbers of an error about the part into those of the input.
func (p part) locate(err error) error {
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "\n ", "")
	return errors.New(regexp.MustCompile(`\bline (\d+)`).ReplaceAllStringFunc(text, func(match string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(match, "line "))
		if err != nil {
			return match
		}
		return "line " + strconv.Itoa(n+p.line-1)
	}))
}
