package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/plugin"
)

const root = "../.."

func all(t *testing.T) []page {
	t.Helper()
	list, err := pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("only %d pages were found", len(list))
	}
	return list
}

func TestLinks(t *testing.T) {
	found := 0
	for _, p := range all(t) {
		prose, _ := p.split()
		for _, target := range links(prose) {
			found++
			if err := checkLink(p, target); err != nil {
				t.Errorf("%s: %v", p.path, err)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d links were found", found)
	}
	for _, bad := range []string{"nothing.md", "#nothing", "../README.md#nothing"} {
		if checkLink(page{path: "docs/x.md"}, bad) == nil {
			t.Errorf("%s is taken for a good link", bad)
		}
	}
}

// checkLink looks for the file and the heading. Other sites are not asked.
func checkLink(from page, target string) error {
	if strings.Contains(target, "://") {
		return nil
	}
	file, anchor, hasAnchor := strings.Cut(target, "#")
	to := from
	if file != "" {
		to.path = filepath.Join(filepath.Dir(from.path), file)
		info, err := os.Stat(filepath.Join(root, to.path))
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(root, to.path))
		if err != nil {
			return err
		}
		to.text = string(data)
	}
	if hasAnchor && !to.anchors()[anchor] {
		return fmt.Errorf("%s: there is no heading %q in %s", target, anchor, to.path)
	}
	return nil
}

// TestCommands: whoever pastes a command from the documentation must not be told that a flag does not exist.
func TestCommands(t *testing.T) {
	found := 0
	for _, p := range all(t) {
		for _, words := range p.commands() {
			found++
			if err := parse(words); err != nil {
				t.Errorf("%s: kubectl netproxy %s: %v", p.path, strings.Join(words, " "), err)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d commands were found", found)
	}
	for _, bad := range []string{"aply -f x", "apply --file x", "create policies x --selector a=b", "check now", "rotate leaf agent --now"} {
		if parse(strings.Fields(bad)) == nil {
			t.Errorf("%q is taken for a good command", bad)
		}
	}
}

// parse does everything that running the command does before it begins.
func parse(words []string) error {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	rootCommand := plugin.NewCommand(streams, "test")
	cmd, rest, err := rootCommand.Find(words)
	if err != nil {
		return err
	}
	cmd.SetContext(context.Background())
	if err := cmd.ParseFlags(rest); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if len(words) == 0 || len(cmd.Flags().Args()) == 0 && len(rest) == 0 {
		return nil // a verb that is only named
	}
	if cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 {
		return fmt.Errorf("%s has no %q", cmd.Name(), cmd.Flags().Arg(0))
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestShell(t *testing.T) {
	for in, want := range map[string]string{
		"$ kubectl netproxy get -A":                              "[[kubectl netproxy get -A]]",
		"kubectl netproxy install | kubectl apply -f - # print":  "[[kubectl netproxy install] [kubectl apply -f -]]",
		"kubectl netproxy learn a --since 1h > p.yaml && true":   "[[kubectl netproxy learn a --since 1h] [true]]",
		"curl --cacert <(kubectl netproxy trust a) https://x/#y": "[[curl --cacert] [kubectl netproxy trust a] [https://x/#y]]",
		"kubectl netproxy logs a --host '*.x y' ...":             "[[kubectl netproxy logs a --host *.x y]]",
	} {
		if got := fmt.Sprint(shell(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	found := 0
	for _, p := range all(t) {
		_, blocks := p.split()
		for _, b := range blocks {
			if b.language != "yaml" || !regexp.MustCompile(`(?m)^kind: (Cluster)?EgressPolicy\b`).MatchString(b.text) {
				continue
			}
			found++
			if err := checkPolicies(b.text); err != nil {
				t.Errorf("%s:%d: %v", p.path, b.line, err)
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d policies were found", found)
	}
	if checkPolicies("apiVersion: netproxy.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: a}\nspec: {egress: {defaultAction: deny}}") == nil {
		t.Error("a bad policy is taken")
	}
}

// checkPolicies reads what is netproxy's and leaves out other kinds.
func checkPolicies(text string) error {
	documents, err := decode.Raw([]byte(text))
	if err != nil {
		return err
	}
	for _, raw := range documents {
		if !strings.Contains(string(raw), `"`+v1alpha1.GroupVersion.String()+`"`) {
			continue
		}
		policy, err := decode.Policy(raw)
		if err != nil {
			return err
		}
		if _, errs := v1alpha1.ValidatePolicy(policy); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	return nil
}
