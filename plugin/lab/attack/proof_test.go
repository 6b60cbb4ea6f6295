package attack

import (
	"testing"
)

// TestBrokenConfigurationsAreFound proves the table: every fault turns the row
// that is about it into a LEAK or a FAIL.
func TestBrokenConfigurationsAreFound(t *testing.T) {
	const lateHello = "  listener_filters_timeout: 1s\n"
	for _, tc := range []struct {
		name   string
		oldnew []string
		want   map[string]Result
	}{
		{
			"no comparison of Host and SNI",
			[]string{"domains: [api.lab.example]", `domains: ["*"]`},
			map[string]Result{"front-stranger-h1": Leak, "front-address-h1": Leak, "front-passthrough-h2": Leak, "reuse-second": Leak, "dns-misdirected": Leak, "host-suffix": Leak, "control-http1": Pass},
		}, {
			"the client's address is believed",
			[]string{"cluster: name-tls", "cluster: original", "cluster: name\n", "cluster: original\n"},
			map[string]Result{"addr-intercepted-4": Leak, "addr-passthrough-4": Leak, "addr-passthrough-6": Leak, "control-passthrough": Pass},
		}, {
			"hosts are compared with case",
			[]string{"- match: {prefix: /v1/}\n", "- match: {prefix: /v1/, headers: [{name: \":authority\", string_match: {exact: api.lab.example}}]}\n"},
			map[string]Result{"host-case": Fail, "control-http1": Pass},
		}, {
			"a late ClientHello passes as raw TCP",
			[]string{lateHello, lateHello + "  continue_on_listener_filters_timeout: true\n", "      prefix_ranges: [", "      destination_port: 443\n    # ["},
			map[string]Result{"tls-late": Leak, "tls-late-half": Leak},
		}, {
			"injection for every host, without TLS too",
			[]string{"{name: plain, domains: [plain.lab.example],", "{name: plain, domains: [plain.lab.example], request_headers_to_add: [{header: {key: x-injected, value: canary-secret-value}}],"},
			map[string]Result{"control-plaintext": Leak, "addr-plaintext-4": Leak},
		}, {
			"admin on TCP",
			[]string{"pipe: {path: /run/netproxy/admin.sock, mode: 384}", "socket_address: {address: 127.0.0.1, port_value: 9901}", "pipe: {path: /run/netproxy/admin.sock}", "socket_address: {address: 127.0.0.1, port_value: 9901}"},
			map[string]Result{"port-admin": Leak, "port-status-reveals": Pass},
		}, {
			"the status port forwards everything",
			[]string{"match: {path: /ready}", `match: {prefix: /}`},
			map[string]Result{"port-status-reveals": Leak},
		}, {
			"private addresses are accepted for a name",
			[]string{"resolved_address_filter: {ranges: [", `resolved_address_filter: {ranges: [{address_prefix: 203.0.113.255, prefix_len: 32}]} } #`},
			map[string]Result{"rebind-pass-metadata": Leak, "rebind-plain-loopback": Leak, "rebind-private": Leak},
		}, {
			"denied names are looked up",
			[]string{"server_names: [pass.lab.example]", `server_names: [pass.lab.example, "*.invalid"]`},
			map[string]Result{"dns-sni": Leak},
		}, {
			"redirect port on every address",
			[]string{"address: 127.0.0.1, port_value: 15001", "address: 0.0.0.0, port_value: 15001"},
			// The packet filter still closes it.
			map[string]Result{"port-redirect-outside": Pass, "port-redirect-pod": Pass},
		}, {
			"TRACE reaches the upstream",
			[]string{`[{name: ":method", string_match: {exact: TRACE}}]`, `[{name: ":method", string_match: {exact: NEVER}}]`},
			map[string]Result{"trace": Leak},
		}, {
			"paths are not normalised",
			[]string{"normalize_path: true", "normalize_path: false", "path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED"},
			map[string]Result{"path-dots": Leak, "path-encoded-slash": Leak, "path-encoded-dots": Leak},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var only []string
			for id := range tc.want {
				only = append(only, id)
			}
			rows := attack(t, only, tc.oldnew...)
			for id, want := range tc.want {
				if got := rows[id]; got.Result != want {
					t.Errorf("%s is %q (%s; got %s), want %s", id, got.Result, got.Detail, got.Got, want)
				}
			}
		})
	}
}
