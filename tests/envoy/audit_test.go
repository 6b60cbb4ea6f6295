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
		{ask("GET", quiet), outcome{end: arrives, rule: "quiet"}},
		{ask("GET", quiet, overHTTP2), outcome{end: arrives, rule: "quiet"}},
		{ask("GET", loud+"x?secret=1"), outcome{end: arrives, rule: "loud", recorded: true, path: "/x"}},
		{ask("POST", loud, overHTTP2), outcome{end: arrives, rule: "loud", recorded: true}},
		{ask("GET", "http://loud.audit.example/"), outcome{end: plaintext, rule: "loud-web", recorded: true}},
		{ask("PUT", quiet+"file"), outcome{end: arrives, rule: "quiet", recorded: true, recordedBy: "uploads"}},
		{ask("PUT", loud+"file"), outcome{end: arrives, rule: "loud", recorded: true, recordedBy: "uploads"}},
		{ask("PUT", quiet+"admin"), outcome{end: denied403, rule: "no-admin", recordedBy: "uploads"}},
		{ask("GET", quiet+"admin?secret=1"), outcome{end: denied403, rule: "no-admin", path: "/admin"}},
		{ask("DELETE", loud, overHTTP2), outcome{end: denied403, rule: "no-deletes"}},
		{ask("POST", "http://loud.audit.example/"), outcome{end: denied403, rule: "default"}},
		{ask("GET", "http://unknown.audit.example/"), outcome{end: denied403, rule: "default"}},
		{ask("GET", quiet, withHost("loud.audit.example")), outcome{end: status404, rule: "misdirected"}},
		{ask("GET", quiet, withHost("loud.audit.example"), overHTTP2), outcome{end: status421, rule: "misdirected"}},
		{ask("CONNECT", quiet, withPath("quiet.audit.example:443"), withHost("quiet.audit.example:443")), outcome{end: denied403, rule: "default", path: "-"}},
		{ask("GET", "https://quiet-passed.audit.example/"), outcome{end: passed, rule: "quiet"}},
		{ask("GET", "https://loud-passed.audit.example/"), outcome{end: passed, rule: "loud", recorded: true}},
		{ask("GET", "tcp://203.0.113.66:6000"), outcome{end: raw, rule: "quiet-net"}},
		{ask("GET", "tcp://203.0.113.50:6000"), outcome{end: raw, rule: "loud-net", recorded: true}},
		{ask("GET", "https://192.0.2.225/"), outcome{end: arrives, rule: "quiet-host"}},
		{ask("GET", "https://192.0.2.209/"), outcome{end: arrives, rule: "loud-host", recorded: true}},
		{ask("GET", "tcp://203.0.113.65:6000"), outcome{end: closed, rule: "retired"}},
		{ask("GET", "tcp://203.0.113.99:6000"), outcome{end: closed, rule: "default"}},
		{ask("GET", "https://banned.audit.example/"), outcome{end: closed, rule: "no-such"}},
		{ask("GET", "https://unknown.audit.example/"), outcome{end: closed, rule: "default"}},
		{ask("GET", "https://203.0.113.99/"), outcome{end: closed, rule: "default"}},
	}
}

// refusedTrials are denied by what a name or a path turns out to be, not by a rule.
func refusedTrials() []trial {
	return []trial{
		{ask("GET", "https://private.audit.example/"), outcome{end: status503, rule: "quiet"}},
		{ask("GET", "https://private-passed.audit.example/"), outcome{end: closed, rule: "quiet"}},
		{ask("GET", "https://quiet.audit.example/a%2Fb"), outcome{end: status400, rule: "default", path: "/a/b"}},
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
		if trial.request.Name != "" {
			testLab(t).World.Add(trial.request.Name)
		}
	}
	p := startProxy(ctx, t, podAudit, egress(t, policy), "-l", "error")
	var want []record
	for _, trial := range trials {
		res, v := p.do(ctx, t, trial.request)
		checkOutcome(t, trial, res, v)
		want = append(want, expectedRecords(p, trial, p.place(t, trial.request))...)
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
		{ask("GET", "https://loud-passed.audit.example/"), outcome{end: passed, rule: "all", recorded: true, recordedBy: "watch-name"}},
		{ask("GET", "https://loud-passed.audit.example:8443/"), outcome{end: passed, rule: "all"}},
		{ask("GET", "https://quiet-passed.audit.example/"), outcome{end: passed, rule: "all"}},
		{ask("GET", "https://a.below.audit.example:8443/"), outcome{end: passed, rule: "all", recorded: true, recordedBy: "watch-below"}},
		{ask("GET", "https://a.below.audit.example:9443/"), outcome{end: closed, rule: "default", recordedBy: "watch-below"}},
		{ask("GET", "tcp://203.0.113.66:6000"), outcome{end: raw, rule: "net"}},
	}
	runRecords(t, watching, trials)
}

// TestRecordedNetworks: what a rule with addresses records is not told apart, so that it records too much, without its name.
func TestRecordedNetworks(t *testing.T) {
	const policy = watching + "  - {name: watch-net, audit: true, cidrs: [203.0.113.66]}\n"
	runRecords(t, policy, []trial{
		{ask("GET", "https://loud-passed.audit.example/"), outcome{end: passed, rule: "all", recorded: true, recordedBy: "watch-name"}},
		{ask("GET", "tcp://203.0.113.66:6000"), outcome{end: raw, rule: "net", recorded: true}},
		{ask("GET", "tcp://203.0.113.67:6000"), outcome{end: raw, rule: "net", recorded: true}},
	})
}
