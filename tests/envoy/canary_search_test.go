package envoy

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"slices"
	"testing"
)

// secrets are texts that must not appear, in the encodings that logs and dumps use.
type secrets map[string][]byte

// wanted adds a text under a name: as it is, in hexadecimal, and in base64 at each of the three alignments.
func (s secrets) wanted(name string, text []byte) {
	s[name] = text
	s[name+" in hexadecimal"] = []byte(hex.EncodeToString(text))
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		// The first and the last group also depend on what stands around.
		s[name+" in base64"+string(rune('0'+shift))] = []byte(encoded[4 : len(encoded)-4])
	}
}

// key adds the key of a PEM file.
func (s secrets) key(name string, file []byte) {
	if block, _ := pem.Decode(file); block != nil {
		s.wanted(name, block.Bytes[8:40])
		s[name+" as PEM"] = []byte(base64.StdEncoding.EncodeToString(block.Bytes)[:40])
	}
}

// in lists the secrets that occur in data.
func (s secrets) in(data []byte) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if bytes.Contains(data, s[name]) {
			found = append(found, name)
		}
	}
	return found
}

// TestSearch is the control of the search itself.
func TestSearch(t *testing.T) {
	s := secrets{}
	s.wanted("canary", []byte(canary))
	for _, prefix := range []string{"", "x", "xy", "xyz"} {
		for name, encode := range map[string]func([]byte) string{
			"text": func(b []byte) string { return string(b) }, "hexadecimal": hex.EncodeToString, "base64": base64.StdEncoding.EncodeToString,
		} {
			if text := encode([]byte(prefix + canary + "openai-key and more")); len(s.in([]byte("before "+text+" after"))) == 0 {
				t.Errorf("the search misses %s with the prefix %q: %s", name, prefix, text)
			}
		}
	}
	if found := s.in([]byte("canary-sk-test-openai, Y2FuYXJ5")); len(found) > 0 {
		t.Errorf("the search finds %q where there is none", found)
	}
}
