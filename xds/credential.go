package xds

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// Value takes the credential out of a Secret's data, nil for a Secret that is not there. Errors say what is wrong with the Secret and never
// hold the value; until it is mended, requests get 401.
func (c Credential) Value(data map[string][]byte) (SecretText, error) {
	if data == nil {
		return nil, errors.New("Secret " + c.Secret + " does not exist; create it")
	}
	raw, ok := data[c.Key]
	if !ok {
		has := strings.Join(slices.Sorted(maps.Keys(data)), ", ")
		return nil, errors.New("Secret " + c.Secret + " has no such key, it has [" + has + "]; add it or name another")
	}
	// A line break at the end, which many Secrets have by accident, is no part of a header.
	value := strings.TrimRight(string(raw), "\r\n")
	switch {
	case strings.Trim(value, " \t") == "":
		return nil, errors.New("the value in Secret " + c.Secret + " is empty; put the credential there")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return nil, errors.New("the value in Secret " + c.Secret + " has a line break or another control character in it, which no header can have; remove it")
	}
	return SecretText(value), nil
}
