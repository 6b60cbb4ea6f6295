package trials

import "github.com/netproxy/netproxy/plugin/lab"

// Examples are the sentences of the examples' headers, by file.
func Examples() map[string][]Trial {
	return map[string][]Trial{
		"01-name.yaml": nameTrials(),
		"02-wildcard.yaml": {
			{Ask("GET", "https://api.github.com/"), Outcome{End: Arrives, Rule: "github"}},
			{Ask("GET", "https://codeload.github.com/x", OverHTTP2), Outcome{End: Arrives, Rule: "github"}},
			{Ask("GET", "https://github.com/"), Outcome{End: Closed, Rule: "default"}},
			{Ask("GET", "https://a.b.github.com/"), Outcome{End: Closed, Rule: "default"}},
			{Ask("GET", "https://api.github.com/", WithHost("codeload.github.com")), Outcome{End: Status404, Rule: "misdirected"}},
		},
		"03-several-domains.yaml": {
			{Ask("GET", "https://api.openai.com/"), Outcome{End: Arrives, Rule: "apis"}},
			{Ask("GET", "https://api.github.com/"), Outcome{End: Arrives, Rule: "apis"}},
			{Ask("GET", "https://api.anthropic.com/"), Outcome{End: Arrives, Rule: "apis"}},
			{Ask("GET", "https://uploads.github.com/"), Outcome{End: Passed, Rule: "apis"}},
			{Ask("GET", "https://api.openai.com/", WithHost("api.github.com")), Outcome{End: Status404, Rule: "misdirected"}},
			{Ask("GET", "https://api.openai.com/", WithHost("api.github.com"), OverHTTP2), Outcome{End: Status421, Rule: "misdirected"}},
			{Ask("GET", "https://codeload.github.com/"), Outcome{End: Denied403, Rule: "default"}},
		},
		"04-names-and-addresses.yaml": {
			{Ask("GET", "https://registry.example.com/"), Outcome{End: Arrives, Rule: "registry"}},
			{Ask("GET", "https://192.0.2.10/"), Outcome{End: Arrives, Rule: "registry"}},
			{Ask("GET", "https://[2001:db8::10]/"), Outcome{End: Arrives, Rule: "registry"}},
			{Ask("GET", "https://192.0.2.11/"), Outcome{End: Closed, Rule: "default"}},
			{Ask("GET", "https://192.0.2.10/", WithHost("registry.example.com")), Outcome{End: Status404, Rule: "misdirected"}},
		},
		"05-address.yaml": {
			{Ask("GET", "https://192.0.2.20/"), Outcome{End: Arrives, Rule: "appliance"}},
			{Ask("GET", "http://192.0.2.20/status"), Outcome{End: Plaintext, Rule: "appliance-status"}},
			{Ask("POST", "http://192.0.2.20/status"), Outcome{End: Denied403, Rule: "default"}},
			{Ask("GET", "http://192.0.2.20/other"), Outcome{End: Denied403, Rule: "default"}},
			{Ask("GET", "tcp://192.0.2.20:22/"), Outcome{End: Closed, Rule: "default"}},
		},
		"06-single-host-cidr.yaml": {
			{Ask("GET", "https://192.0.2.30/"), Outcome{End: Arrives, Rule: "appliances"}},
			{Ask("GET", "https://[2001:db8::30]/"), Outcome{End: Arrives, Rule: "appliances"}},
			{Ask("GET", "tcp://192.0.2.30:443/"), Outcome{End: Raw, Rule: "appliances"}},
			{Ask("GET", "https://192.0.2.31/"), Outcome{End: Closed, Rule: "default"}},
			{Ask("GET", "tcp://192.0.2.30:22/"), Outcome{End: Closed, Rule: "default"}},
		},
		"07-header-value.yaml":  headerValueTrials(),
		"08-header-secret.yaml": headerSecretTrials(),
		"09-l4-rules.yaml":      l4Trials(),
		"10-http-deny.yaml":     httpDenyTrials(),
		"11-audit-chosen.yaml":  auditChosenTrials(),
		"12-audit-all.yaml":     auditAllTrials(),
	}
}

func auditChosenTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.openai.com/v1/models"), Outcome{End: Arrives, Rule: "openai"}},
		{Ask("POST", "https://api.openai.com/v1/models"), Outcome{End: Arrives, Rule: "openai"}},
		{Ask("POST", "https://api.openai.com/v1/files"), Outcome{End: Arrives, Rule: "openai", Recorded: true, RecordedBy: "uploads"}},
		{Ask("PUT", "https://api.openai.com/v1/files/7", OverHTTP2), Outcome{End: Arrives, Rule: "openai", Recorded: true, RecordedBy: "uploads"}},
		{Ask("GET", "https://api.openai.com/v1/files"), Outcome{End: Arrives, Rule: "openai"}},
	}
}

func auditAllTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.openai.com/v1"), Outcome{End: Arrives, Rule: "default", Recorded: true, RecordedBy: "everything"}},
		{Ask("POST", "http://www.example.org/x"), Outcome{End: Plaintext, Rule: "default", Recorded: true, RecordedBy: "everything"}},
		{Ask("GET", "https://www.example.org/"), Outcome{End: Passed, Rule: "default", Recorded: true, RecordedBy: "everything"}},
		{Ask("GET", "tcp://203.0.113.7:6000/"), Outcome{End: Raw, Rule: "default", Recorded: true, RecordedBy: "everything"}},
		{Ask("GET", "http://169.254.169.254/latest"), Outcome{End: Denied403, Rule: "default", RecordedBy: "everything"}},
		{Ask("GET", "tcp://169.254.169.254:6000/"), Outcome{End: Closed, Rule: "default", RecordedBy: "everything"}},
	}
}

func nameTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.openai.com/"), Outcome{End: Arrives, Rule: "openai"}},
		{Ask("POST", "https://api.openai.com/v1/x", OverHTTP2), Outcome{End: Arrives, Rule: "openai"}},
		{Ask("GET", "https://api.openai.com/", To(Stranger)), Outcome{End: Arrives, Rule: "openai"}},
		{Ask("GET", "https://api.openai.com/", WithHost("www.example.org")), Outcome{End: Status404, Rule: "misdirected"}},
		{Ask("GET", "https://api.openai.com/", WithHost("www.example.org"), OverHTTP2), Outcome{End: Status404, Rule: "misdirected"}},
		{Ask("GET", "https://www.example.org/"), Outcome{End: Closed, Rule: "default"}},
		{Ask("GET", "https://api.openai.com/", WithSNI("-")), Outcome{End: Closed, Rule: "default"}},
		// No rule names this port; it is looked at all the same, so that the denial can be read.
		{Ask("GET", "http://api.openai.com/"), Outcome{End: Denied403, Rule: "default"}},
		{Ask("GET", "http://api.openai.com:443/"), Outcome{End: Plaintext, Rule: "openai"}},
		{Ask("GET", "tcp://api.openai.com:22/"), Outcome{End: Closed, Rule: "default"}},
	}
}

func headerValueTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.example.com/", Sending("X-Request-Source", "client")), Outcome{End: Arrives, Rule: "example", Header: map[string]string{"X-Request-Source": "agent"}}},
		{Ask("GET", "https://api.example.com/", OverHTTP2), Outcome{End: Arrives, Rule: "example", Header: map[string]string{"X-Request-Source": "agent"}}},
		{Ask("GET", "https://www.example.com/", Sending("X-Request-Source", "client")), Outcome{End: Arrives, Rule: "example", Header: map[string]string{"X-Request-Source": "client"}}},
		{Ask("TRACE", "https://api.example.com/"), Outcome{End: Denied403, Rule: "trace"}},
	}
}

func headerSecretTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.openai.com/v1/models"), Outcome{End: Arrives, Rule: "openai", Header: map[string]string{
			"Authorization": "Bearer " + Canary + "openai-api-key", "OpenAI-Organization": Canary + "openai-organization"}}},
		{Ask("POST", "https://api.openai.com/v1/x", OverHTTP2, Sending("OpenAI-Organization", "client")), Outcome{End: Arrives, Rule: "openai", Header: map[string]string{
			"Authorization": "Bearer " + Canary + "openai-api-key", "OpenAI-Organization": Canary + "openai-organization"}}},
		{Ask("GET", "https://api.openai.com/v2/"), Outcome{End: Denied403, Rule: "default"}},
		{Ask("DELETE", "https://api.openai.com/v1/models"), Outcome{End: Denied403, Rule: "default"}},
	}
}

func l4Trials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.example.com/"), Outcome{End: Arrives, Rule: "api"}},
		{Ask("GET", "tcp://198.51.100.200:5432/"), Outcome{End: Raw, Rule: "databases"}},
		{Ask("GET", "tcp://[2001:db8:5::1]:5432/"), Outcome{End: Raw, Rule: "databases"}},
		{Ask("GET", "tcp://198.51.100.66:5432/"), Outcome{End: Closed, Rule: "retired-database"}},
		{Ask("GET", "tcp://203.0.113.7:6000/"), Outcome{End: Raw, Rule: "workers"}},
		{Ask("GET", "tcp://203.0.113.7:6010/"), Outcome{End: Raw, Rule: "workers"}},
		{Ask("GET", "tcp://203.0.113.7:6011/"), Outcome{End: Closed, Rule: "default"}},
		{Ask("GET", "tcp://203.0.113.8:6000/"), Outcome{End: Closed, Rule: "default"}},
		{Ask("GET", "tcp://198.51.100.200:5433/"), Outcome{End: Closed, Rule: "default"}},
		{Ask("GET", "https://198.51.100.200/"), Outcome{End: Closed, Rule: "default"}},
	}
}

func httpDenyTrials() []Trial {
	return []Trial{
		{Ask("GET", "https://api.github.com/repos/a/b"), Outcome{End: Arrives, Rule: "github"}},
		{Ask("GET", "https://api.github.com/administrators"), Outcome{End: Arrives, Rule: "github"}},
		{Ask("DELETE", "https://api.github.com/repos/a/b"), Outcome{End: Denied403, Rule: "no-deletes"}},
		{Ask("GET", "https://api.github.com/admin"), Outcome{End: Denied403, Rule: "no-admin"}},
		{Ask("GET", "https://api.github.com/admin/x", OverHTTP2), Outcome{End: Denied403, Rule: "no-admin"}},
		{Ask("GET", "https://api.github.com/%61dmin/"), Outcome{End: Denied403, Rule: "no-admin", Path: "/admin/"}},
		{Ask("GET", "https://api.github.com//admin/"), Outcome{End: Denied403, Rule: "no-admin", Path: "/admin/"}},
	}
}

// Sending adds a header.
func Sending(name, value string) func(*lab.Request) {
	return func(r *lab.Request) { r.Header = append(r.Header, lab.Field{Name: name, Value: value}) }
}
