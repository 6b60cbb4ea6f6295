package xds_test

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/xds"
)

// versions renders the agent policy with one value for all credentials.
func versions(t *testing.T, leafKey, value string) map[string]string {
	t.Helper()
	plan := compiled(t, readPolicy(t, "testdata/golden/agent.yaml"))
	cfg := testConfig(plan)
	cfg.LeafKey = xds.SecretText(leafKey)
	for c := range cfg.Credentials {
		cfg.Credentials[c] = xds.SecretText(value)
	}
	files, err := plan.Render(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return files.SecretVersions()
}

func TestSecretVersions(t *testing.T) {
	first := versions(t, "key", "value")
	if len(first) == 0 {
		t.Fatal("the policy has no credential")
	}
	for stat, version := range first {
		if !regexp.MustCompile(`^sds\.[0-9a-f]{16}\.version_text$`).MatchString(stat) || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(version) {
			t.Errorf("%q: %q", stat, version)
		}
	}
	if all := slices.Sorted(maps.Values(first)); len(slices.Compact(all)) != len(first) {
		t.Errorf("equal values of several credentials show: %v", first)
	}
	if diff := cmp.Diff(first, versions(t, "key", "value\n")); diff != "" {
		t.Errorf("a line break at the end is no part of the value: %s", diff)
	}
	for what, other := range map[string]map[string]string{
		"another value": versions(t, "key", "value2"), "another key": versions(t, "key2", "value"), "no value": versions(t, "key", ""),
	} {
		for stat, version := range other {
			if first[stat] == version {
				t.Errorf("%s has the version of the first: %s", what, stat)
			}
		}
	}
}

// TestWithoutUpstreamCAs: the roots of the pod are taken, and nothing is rendered for them.
func TestWithoutUpstreamCAs(t *testing.T) {
	plan := compiled(t, readPolicy(t, "testdata/golden/agent.yaml"))
	cfg := testConfig(plan)
	cfg.UpstreamCAs = nil
	files, err := plan.Render(cfg)
	if err != nil {
		t.Fatal(err)
	}
	clusters := files.Find(xds.ClustersFile).Data
	if files.Find(xds.UpstreamCAsFile) != nil || bytes.Contains(clusters, []byte(xds.UpstreamCAsFile)) {
		t.Error("the file of upstream CAs is still there")
	}
	if !bytes.Contains(clusters, []byte(`"/etc/netproxy/roots/ca-certificates.crt"`)) {
		t.Error("clusters do not verify against the roots of the pod")
	}
	cfg.Paths = xds.Paths{Config: "/c", TLS: "/t", Run: "/r"}
	if _, err := plan.Render(cfg); err == nil || !strings.Contains(err.Error(), "no CAs") {
		t.Errorf("with nothing to verify against: %v", err)
	}
}
