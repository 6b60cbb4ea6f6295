package envoy

import "github.com/netproxy/netproxy/plugin/lab"

// exampleTrials are the sentences of the examples' headers, by file.
func exampleTrials() map[string][]trial {
	return map[string][]trial{
		"01-name.yaml": {
			{ask("GET", "https://api.openai.com/"), outcome{end: arrives, rule: "openai"}},
			{ask("POST", "https://api.openai.com/v1/x", overHTTP2), outcome{end: arrives, rule: "openai"}},
			{ask("GET", "https://api.openai.com/", to(stranger)), outcome{end: arrives, rule: "openai"}},
			{ask("GET", "https://api.openai.com/", withHost("www.example.org")), outcome{end: status404, rule: "misdirected"}},
			{ask("GET", "https://api.openai.com/", withHost("www.example.org"), overHTTP2), outcome{end: status404, rule: "misdirected"}},
			{ask("GET", "https://www.example.org/"), outcome{end: closed, rule: "default"}},
			{ask("GET", "https://api.openai.com/", withSNI("-")), outcome{end: closed, rule: "default"}},
			// No rule names this port; it is looked at all the same, so that the denial can be read.
			{ask("GET", "http://api.openai.com/"), outcome{end: denied403, rule: "default"}},
			{ask("GET", "http://api.openai.com:443/"), outcome{end: plaintext, rule: "openai"}},
			{ask("GET", "tcp://api.openai.com:22/"), outcome{end: closed, rule: "default"}},
		},
		"02-wildcard.yaml": {
			{ask("GET", "https://api.github.com/"), outcome{end: arrives, rule: "github"}},
			{ask("GET", "https://codeload.github.com/x", overHTTP2), outcome{end: arrives, rule: "github"}},
			{ask("GET", "https://github.com/"), outcome{end: closed, rule: "default"}},
			{ask("GET", "https://a.b.github.com/"), outcome{end: closed, rule: "default"}},
			{ask("GET", "https://api.github.com/", withHost("codeload.github.com")), outcome{end: status404, rule: "misdirected"}},
		},
		"03-several-domains.yaml": {
			{ask("GET", "https://api.openai.com/"), outcome{end: arrives, rule: "apis"}},
			{ask("GET", "https://api.github.com/"), outcome{end: arrives, rule: "apis"}},
			{ask("GET", "https://api.anthropic.com/"), outcome{end: arrives, rule: "apis"}},
			{ask("GET", "https://uploads.github.com/"), outcome{end: passed, rule: "apis"}},
			{ask("GET", "https://api.openai.com/", withHost("api.github.com")), outcome{end: status404, rule: "misdirected"}},
			{ask("GET", "https://api.openai.com/", withHost("api.github.com"), overHTTP2), outcome{end: status421, rule: "misdirected"}},
			{ask("GET", "https://codeload.github.com/"), outcome{end: denied403, rule: "default"}},
		},
		"04-names-and-addresses.yaml": {
			{ask("GET", "https://registry.example.com/"), outcome{end: arrives, rule: "registry"}},
			{ask("GET", "https://192.0.2.10/"), outcome{end: arrives, rule: "registry"}},
			{ask("GET", "https://[2001:db8::10]/"), outcome{end: arrives, rule: "registry"}},
			{ask("GET", "https://192.0.2.11/"), outcome{end: closed, rule: "default"}},
			{ask("GET", "https://192.0.2.10/", withHost("registry.example.com")), outcome{end: status404, rule: "misdirected"}},
		},
		"05-address.yaml": {
			{ask("GET", "https://192.0.2.20/"), outcome{end: arrives, rule: "appliance"}},
			{ask("GET", "http://192.0.2.20/status"), outcome{end: plaintext, rule: "appliance-status"}},
			{ask("POST", "http://192.0.2.20/status"), outcome{end: denied403, rule: "default"}},
			{ask("GET", "http://192.0.2.20/other"), outcome{end: denied403, rule: "default"}},
			{ask("GET", "tcp://192.0.2.20:22/"), outcome{end: closed, rule: "default"}},
		},
		"06-single-host-cidr.yaml": {
			{ask("GET", "https://192.0.2.30/"), outcome{end: arrives, rule: "appliances"}},
			{ask("GET", "https://[2001:db8::30]/"), outcome{end: arrives, rule: "appliances"}},
			{ask("GET", "tcp://192.0.2.30:443/"), outcome{end: raw, rule: "appliances"}},
			{ask("GET", "https://192.0.2.31/"), outcome{end: closed, rule: "default"}},
			{ask("GET", "tcp://192.0.2.30:22/"), outcome{end: closed, rule: "default"}},
		},
		"07-header-value.yaml": {
			{ask("GET", "https://api.example.com/", sending("X-Request-Source", "client")), outcome{end: arrives, rule: "example", header: map[string]string{"X-Request-Source": "agent"}}},
			{ask("GET", "https://api.example.com/", overHTTP2), outcome{end: arrives, rule: "example", header: map[string]string{"X-Request-Source": "agent"}}},
			{ask("GET", "https://www.example.com/", sending("X-Request-Source", "client")), outcome{end: arrives, rule: "example", header: map[string]string{"X-Request-Source": "client"}}},
			{ask("TRACE", "https://api.example.com/"), outcome{end: denied403, rule: "trace"}},
		},
		"08-header-secret.yaml": {
			{ask("GET", "https://api.openai.com/v1/models"), outcome{end: arrives, rule: "openai", header: map[string]string{
				"Authorization": "Bearer " + canary + "openai-api-key", "OpenAI-Organization": canary + "openai-organization"}}},
			{ask("POST", "https://api.openai.com/v1/x", overHTTP2, sending("OpenAI-Organization", "client")), outcome{end: arrives, rule: "openai", header: map[string]string{
				"Authorization": "Bearer " + canary + "openai-api-key", "OpenAI-Organization": canary + "openai-organization"}}},
			{ask("GET", "https://api.openai.com/v2/"), outcome{end: denied403, rule: "default"}},
			{ask("DELETE", "https://api.openai.com/v1/models"), outcome{end: denied403, rule: "default"}},
		},
		"09-l4-rules.yaml":  l4Trials(),
		"10-http-deny.yaml": httpDenyTrials(),
		"11-audit-chosen.yaml": {
			{ask("GET", "https://api.openai.com/v1/models"), outcome{end: arrives, rule: "openai"}},
			{ask("POST", "https://api.openai.com/v1/models"), outcome{end: arrives, rule: "openai"}},
			{ask("POST", "https://api.openai.com/v1/files"), outcome{end: arrives, rule: "openai", recorded: true, recordedBy: "uploads"}},
			{ask("PUT", "https://api.openai.com/v1/files/7", overHTTP2), outcome{end: arrives, rule: "openai", recorded: true, recordedBy: "uploads"}},
			{ask("GET", "https://api.openai.com/v1/files"), outcome{end: arrives, rule: "openai"}},
		},
		"12-audit-all.yaml": {
			{ask("GET", "https://api.openai.com/v1"), outcome{end: arrives, rule: "default", recorded: true, recordedBy: "everything"}},
			{ask("POST", "http://www.example.org/x"), outcome{end: plaintext, rule: "default", recorded: true, recordedBy: "everything"}},
			{ask("GET", "https://www.example.org/"), outcome{end: passed, rule: "default", recorded: true, recordedBy: "everything"}},
			{ask("GET", "tcp://203.0.113.7:6000/"), outcome{end: raw, rule: "default", recorded: true, recordedBy: "everything"}},
			{ask("GET", "http://169.254.169.254/latest"), outcome{end: denied403, rule: "default", recordedBy: "everything"}},
			{ask("GET", "tcp://169.254.169.254:6000/"), outcome{end: closed, rule: "default", recordedBy: "everything"}},
		},
	}
}

func l4Trials() []trial {
	return []trial{
		{ask("GET", "https://api.example.com/"), outcome{end: arrives, rule: "api"}},
		{ask("GET", "tcp://198.51.100.200:5432/"), outcome{end: raw, rule: "databases"}},
		{ask("GET", "tcp://[2001:db8:5::1]:5432/"), outcome{end: raw, rule: "databases"}},
		{ask("GET", "tcp://198.51.100.66:5432/"), outcome{end: closed, rule: "retired-database"}},
		{ask("GET", "tcp://203.0.113.7:6000/"), outcome{end: raw, rule: "workers"}},
		{ask("GET", "tcp://203.0.113.7:6010/"), outcome{end: raw, rule: "workers"}},
		{ask("GET", "tcp://203.0.113.7:6011/"), outcome{end: closed, rule: "default"}},
		{ask("GET", "tcp://203.0.113.8:6000/"), outcome{end: closed, rule: "default"}},
		{ask("GET", "tcp://198.51.100.200:5433/"), outcome{end: closed, rule: "default"}},
		{ask("GET", "https://198.51.100.200/"), outcome{end: closed, rule: "default"}},
	}
}

func httpDenyTrials() []trial {
	return []trial{
		{ask("GET", "https://api.github.com/repos/a/b"), outcome{end: arrives, rule: "github"}},
		{ask("GET", "https://api.github.com/administrators"), outcome{end: arrives, rule: "github"}},
		{ask("DELETE", "https://api.github.com/repos/a/b"), outcome{end: denied403, rule: "no-deletes"}},
		{ask("GET", "https://api.github.com/admin"), outcome{end: denied403, rule: "no-admin"}},
		{ask("GET", "https://api.github.com/admin/x", overHTTP2), outcome{end: denied403, rule: "no-admin"}},
		{ask("GET", "https://api.github.com/%61dmin/"), outcome{end: denied403, rule: "no-admin", path: "/admin/"}},
		{ask("GET", "https://api.github.com//admin/"), outcome{end: denied403, rule: "no-admin", path: "/admin/"}},
	}
}

func sending(name, value string) func(*lab.Request) {
	return func(r *lab.Request) { r.Header = append(r.Header, lab.Field{Name: name, Value: value}) }
}
