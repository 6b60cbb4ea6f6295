package mitm

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestPrivateKeyIsRedacted(t *testing.T) {
	ca := newCA(t, 1)
	leaf := newLeaf(t, ca, "api.example.com")
	outer := struct {
		Key    PrivateKey
		hidden PrivateKey
		ca     *CA
		leaf   Leaf
		state  Rotation
	}{ca.Key(), leaf.Key(), ca, *leaf, Rotation{Current: ca}}
	var shown []string
	for _, value := range []any{ca.Key(), &outer.Key, outer, &outer, ca, *ca, leaf, *leaf, outer.state} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
		shown = append(shown, marshal(t, json.Marshal, value), marshal(t, yaml.Marshal, value), logged(value))
	}
	for _, secret := range append(spellings(t, ca.Key()), spellings(t, leaf.Key())...) {
		for _, text := range shown {
			if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				t.Errorf("the private key is shown in %.200s", text)
			}
		}
	}
	if shown[0] != redacted || shown[2] != redacted {
		t.Errorf("a key prints as %q and %q", shown[0], shown[2])
	}
}

// TestRedactionSearchFinds is the positive control of the search above.
func TestRedactionSearchFinds(t *testing.T) {
	key := newCA(t, 1).Key()
	naked := fmt.Sprintf("%+v", key.reveal())
	for _, s := range spellings(t, key) {
		if strings.Contains(naked, s) {
			return
		}
	}
	t.Errorf("the search does not find the key in %s", naked)
}

// spellings are ways in which a key's scalar can appear in a text.
func spellings(t *testing.T, k PrivateKey) []string {
	t.Helper()
	signer := k.reveal().(interface{ Bytes() ([]byte, error) })
	scalar, err := signer.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(reveal(t, k))
	body := strings.Split(string(pem.EncodeToMemory(block)), "\n")
	decimals := strings.Trim(fmt.Sprintf("%v", scalar[:8]), "[]")
	number := new(big.Int).SetBytes(scalar).String()
	return []string{fmt.Sprintf("%x", scalar[:8]), decimals, body[2], number}
}

func marshal(t *testing.T, f func(any) ([]byte, error), value any) string {
	t.Helper()
	out, err := f(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func logged(value any) string {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("key", "value", value)
	return out.String()
}
