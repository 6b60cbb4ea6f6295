package envoy

import (
	"net/netip"
	"testing"
	"time"
)

// audited has rules that record, rules that do not, and one that does nothing else.
const audited = `
egress:
  defaultAction: Deny
  rules:
  - {name: quiet, action: Allow, hosts: [quiet.audit.example, empty.audit.example, private.audit.example, quiet-passed.audit.example, private-passed.audit.example], ports: [{port: 443}]}
  - {name: loud, action: Allow, audit: true, hosts: [loud.audit.example, loud-passed.audit.example], ports: [{port: 443}]}
  - {name: loud-web, action: Allow, audit: true, hosts: [loud.audit.example], ports: [{port: 80}], http: [{methods: [GET]}]}
  - {name: no-admin, action: Deny, hosts: [quiet.audit.example, loud.audit.example], http: [{paths: [{prefix: /admin}]}]}
  - {name: no-deletes, action: Deny, audit: true, hosts: [loud.audit.example], http: [{methods: [DELETE]}]}
  - {name: uploads, audit: true, hosts: ["*.audit.example"], http: [{methods: [PUT]}]}
  - {name: quiet-net, action: Allow, cidrs: [203.0.113.64/28], ports: [{port: 6000}]}
  - {name: loud-net, action: Allow, audit: true, cidrs: [203.0.113.48/28], ports: [{port: 6000}]}
  - {name: quiet-host, action: Allow, cidrs: [192.0.2.224/28], ports: [{port: 443}]}
  - {name: loud-host, action: Allow, audit: true, cidrs: [192.0.2.208/28], ports: [{port: 443}]}
  - {name: retired, action: Deny, cidrs: [203.0.113.65]}
  - {name: no-such, action: Deny, hosts: [banned.audit.example]}
mitm:
  domains: [quiet.audit.example, loud.audit.example, empty.audit.example, private.audit.example, 192.0.2.225, 192.0.2.209]
  headerMutations:
  - {domain: empty.audit.example, headers: [{name: Authorization, secretRef: {name: empty, key: k}}]}
`

func auditTrials() []trial {
	const quiet, loud = "https://quiet.audit.example/", "https://loud.audit.example/"
	return []trial{
		try(ask("GET", quiet), outcome{End: arrives, Rule: "quiet"}),
		try(ask("GET", quiet, overHTTP2), outcome{End: arrives, Rule: "quiet"}),
		try(ask("GET", loud+"x?secret=1"), outcome{End: arrives, Rule: "loud", Recorded: true, Path: "/x"}),
		try(ask("POST", loud, overHTTP2), outcome{End: arrives, Rule: "loud", Recorded: true}),
		try(ask("GET", "http://loud.audit.example/"), outcome{End: plaintext, Rule: "loud-web", Recorded: true}),
		try(ask("PUT", quiet+"file"), outcome{End: arrives, Rule: "quiet", Recorded: true, RecordedBy: "uploads"}),
		try(ask("PUT", loud+"file"), outcome{End: arrives, Rule: "loud", Recorded: true, RecordedBy: "uploads"}),
		try(ask("PUT", quiet+"admin"), outcome{End: denied403, Rule: "no-admin", RecordedBy: "uploads"}),
		try(ask("GET", quiet+"admin?secret=1"), outcome{End: denied403, Rule: "no-admin", Path: "/admin"}),
		try(ask("DELETE", loud, overHTTP2), outcome{End: denied403, Rule: "no-deletes"}),
		try(ask("POST", "http://loud.audit.example/"), outcome{End: denied403, Rule: "default"}),
		try(ask("GET", "http://unknown.audit.example/"), outcome{End: denied403, Rule: "default"}),
		try(ask("GET", quiet, withHost("loud.audit.example")), outcome{End: status404, Rule: "misdirected"}),
		try(ask("GET", quiet, withHost("loud.audit.example"), overHTTP2), outcome{End: status421, Rule: "misdirected"}),
		try(ask("CONNECT", quiet, withPath("quiet.audit.example:443"), withHost("quiet.audit.example:443")), outcome{End: denied403, Rule: "default", Path: "-"}),
		try(ask("GET", "https://quiet-passed.audit.example/"), outcome{End: passed, Rule: "quiet"}),
		try(ask("GET", "https://loud-passed.audit.example/"), outcome{End: passed, Rule: "loud", Recorded: true}),
		try(ask("GET", "tcp://203.0.113.66:6000"), outcome{End: raw, Rule: "quiet-net"}),
		try(ask("GET", "tcp://203.0.113.50:6000"), outcome{End: raw, Rule: "loud-net", Recorded: true}),
		try(ask("GET", "https://192.0.2.225/"), outcome{End: arrives, Rule: "quiet-host"}),
		try(ask("GET", "https://192.0.2.209/"), outcome{End: arrives, Rule: "loud-host", Recorded: true}),
		try(ask("GET", "tcp://203.0.113.65:6000"), outcome{End: closed, Rule: "retired"}),
		try(ask("GET", "tcp://203.0.113.99:6000"), outcome{End: closed, Rule: "default"}),
		try(ask("GET", "https://banned.audit.example/"), outcome{End: closed, Rule: "no-such"}),
		try(ask("GET", "https://unknown.audit.example/"), outcome{End: closed, Rule: "default"}),
		try(ask("GET", "https://203.0.113.99/"), outcome{End: closed, Rule: "default"}),
	}
}

// refusedTrials are denied by what a name or a path turns out to be, not by a rule.
func refusedTrials() []trial {
	return []trial{
		try(ask("GET", "https://private.audit.example/"), outcome{End: status503, Rule: "quiet"}),
		try(ask("GET", "https://private-passed.audit.example/"), outcome{End: closed, Rule: "quiet"}),
		try(ask("GET", "https://quiet.audit.example/a%2Fb"), outcome{End: status400, Rule: "default", Path: "/a/b"}),
	}
}

// TestAudit compares Envoy's stdout with what a policy has recorded.
func TestAudit(t *testing.T) { runAudit(t, auditTrials()) }

// TestAuditRefused: a name whose addresses the policy does not accept, and a path that cannot be read safely, are denials
// too.
func TestAuditRefused(t *testing.T) { runAudit(t, refusedTrials()) }

func runAudit(t *testing.T, trials []trial) {
	t.Helper()
	for _, name := range []string{"private.audit.example", "private-passed.audit.example"} {
		testLab(t).World.Add(name, netip.MustParseAddr("10.1.2.5"))
	}
	runRecords(t, audited, trials)
}

func runRecords(t *testing.T, policy string, trials []trial) {
	t.Helper()
	ctx := testContext(t, time.Minute)
	for _, trial := range trials {
		if trial.Request.Name != "" {
			testLab(t).World.Add(trial.Request.Name)
		}
	}
	p := startProxy(ctx, t, podAudit, egress(t, policy), "-l", "error")
	var want []record
	for _, trial := range trials {
		res, v := p.do(ctx, t, trial.Request)
		checkOutcome(t, trial, res, v)
		want = append(want, expectedRecords(p, trial, p.place(t, trial.Request))...)
	}
	compareRecords(t, want, p.stopAndRead(t))
}

// TestAuditUninjected: a missing credential is a denial by the rule that allows the rest.
func TestAuditUninjected(t *testing.T) {
	ctx := testContext(t, time.Minute)
	testLab(t).World.Add("empty.audit.example")
	p := startProxy(ctx, t, podAudit, egress(t, audited), "-l", "error")
	p.config.Credentials[p.plan.Credentials()[0]] = nil
	if err := p.swap(); err != nil {
		t.Fatal(err)
	}
	p.untilStatus(ctx, t, ask("GET", "https://empty.audit.example/x"), 401)
	got := p.stopAndRead(t)
	dst := p.place(t, ask("GET", "https://empty.audit.example/x")).Dst.String()
	compareRecords(t, []record{{
		Policy: p.plan.Ref.String(), Verdict: "Deny", Rule: "quiet", Host: "empty.audit.example", Method: "GET", Path: "/x", Status: 401,
		SNI: "empty.audit.example", Destination: dst,
	}}, got)
}

// TestUpstreamsDenialIsItsOwn: what an upstream refuses is no denial of the policy.
func TestUpstreamsDenialIsItsOwn(t *testing.T) {
	ctx := testContext(t, time.Minute)
	for _, name := range []string{"quiet.audit.example", "loud.audit.example"} {
		testLab(t).World.Add(name)
	}
	p := startProxy(ctx, t, podAudit, egress(t, audited), "-l", "error")
	var want []record
	for _, status := range []string{"401", "403", "404", "421", "503"} {
		for _, host := range []string{"quiet.audit.example", "loud.audit.example"} {
			r := p.place(t, ask("GET", "https://"+host+"/status/"+status))
			res := p.pod.Do(ctx, r)
			if res.String() != status || res.Upstream == nil {
				t.Errorf("%s%s: %s, %v", host, r.Path, res, res.Err)
			}
			if host == "loud.audit.example" {
				want = append(want, record{
					Policy: p.plan.Ref.String(), Verdict: "Allow", Rule: "loud", Host: host, Method: "GET", Path: r.Path, Status: res.Status,
					SNI: host, Destination: r.Dst.String(),
				})
			}
		}
	}
	compareRecords(t, want, p.stopAndRead(t))
}

// watching records connections to some names; the other rule for them leaves the port to decide.
const watching = `
egress:
  defaultAction: Deny
  rules:
  - {name: all, action: Allow, hosts: ["*.audit.example"], ports: [{port: 443}, {port: 8443}]}
  - {name: net, action: Allow, cidrs: [203.0.113.64/28], ports: [{port: 6000}]}
  - {name: watch-name, audit: true, hosts: [loud-passed.audit.example], ports: [{port: 443}]}
  - {name: watch-below, audit: true, hosts: ["*.below.audit.example"]}
`

// TestRecordedConnections: a rule that only records sees what it matches, and nothing else.
func TestRecordedConnections(t *testing.T) {
	trials := []trial{
		try(ask("GET", "https://loud-passed.audit.example/"), outcome{End: passed, Rule: "all", Recorded: true, RecordedBy: "watch-name"}),
		try(ask("GET", "https://loud-passed.audit.example:8443/"), outcome{End: passed, Rule: "all"}),
		try(ask("GET", "https://quiet-passed.audit.example/"), outcome{End: passed, Rule: "all"}),
		try(ask("GET", "https://a.below.audit.example:8443/"), outcome{End: passed, Rule: "all", Recorded: true, RecordedBy: "watch-below"}),
		try(ask("GET", "https://a.below.audit.example:9443/"), outcome{End: closed, Rule: "default", RecordedBy: "watch-below"}),
		try(ask("GET", "tcp://203.0.113.66:6000"), outcome{End: raw, Rule: "net"}),
	}
	runRecords(t, watching, trials)
}

// TestRecordedNetworks: what a rule with addresses records is not told apart, so that it records too much, without its name.
func TestRecordedNetworks(t *testing.T) {
	const policy = watching + "  - {name: watch-net, audit: true, cidrs: [203.0.113.66]}\n"
	runRecords(t, policy, []trial{
		try(ask("GET", "https://loud-passed.audit.example/"), outcome{End: passed, Rule: "all", Recorded: true, RecordedBy: "watch-name"}),
		try(ask("GET", "tcp://203.0.113.66:6000"), outcome{End: raw, Rule: "net", Recorded: true}),
		try(ask("GET", "tcp://203.0.113.67:6000"), outcome{End: raw, Rule: "net", Recorded: true}),
	})
}
