package compose

import "strings"

// Origins are field paths of a policy with what they come from: a flag, or a field of something that was converted.
type Origins map[string]string

// Of is what the longest known prefix of a path comes from, or empty.
func (o Origins) Of(path string) string {
	best := ""
	for prefix := range o {
		if strings.HasPrefix(path, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return o[best]
}
