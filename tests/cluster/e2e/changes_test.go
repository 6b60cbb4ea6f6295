package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

const (
	// arrives bounds a change on a loaded machine; what it takes is logged, and is a fraction of it.
	arrives = 10 * time.Second
	// between two changes, longer than the second that rotation requests count in.
	between = 1200 * time.Millisecond
	// drains is the drain time, and what a loaded machine adds.
	drains = 10*time.Second + arrives
)

func trialsPerChange() int {
	if n, err := strconv.Atoi(os.Getenv("NETPROXY_TRIALS")); err == nil {
		return n + n%2 // even: the last one leaves things as they were
	}
	return 6
}

const changingPolicy = `
apiVersion: v1
kind: Secret
metadata: {name: openai}
stringData: {key: sk-change-0}
---
apiVersion: netproxy.dev/v1alpha1
kind: EgressPolicy
metadata: {name: agent}
spec:
  podSelector: {matchLabels: {app: agent}}
  egress:
    defaultAction: Deny
    rules:
    - {name: api, action: Allow, hosts: [api.changes.example, other.changes.example], http: [{methods: [GET, POST]}]}
    - {name: held, action: Allow, hosts: [held.changes.example]}
  mitm:
    domains: [api.changes.example, held.changes.example]
    headerMutations:
    - {domain: api.changes.example, headers: [{name: Authorization, secretRef: {name: openai, key: key}, prefix: "Bearer "}]}
`

// newChanging has a policy, and pods under it.
func newChanging(t *testing.T, pods ...string) *env {
	t.Helper()
	e := newProtected(t, 8*time.Minute, "tool")
	for _, name := range []string{"api", "other", "held"} {
		e.name(t, name+".changes.example")
	}
	e.protect(t, changingPolicy)
	for _, name := range pods {
		e.apply(t, strings.Replace(toolPod(name, "sleep"), "labels: {app: "+name+"}", "labels: {app: agent}", 1))
	}
	for _, name := range pods {
		e.ready(t, name)
	}
	return e
}

func (e *env) patchPolicy(t *testing.T, patch string) {
	t.Helper()
	resource := e.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("egresspolicies")).Namespace(e.ns)
	if _, err := resource.Patch(e.ctx, "agent", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func replace(path string, value any) string {
	text, _ := json.Marshal([]map[string]any{{"op": "add", "path": path, "value": value}})
	return string(text)
}

// observation is one line of "tool follow".
type observation struct {
	at                     time.Time
	status, serial, header string
}

func observations(t *testing.T, text string) []observation {
	t.Helper()
	var out []observation
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		nanos, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue
		}
		header, _ := strconv.Unquote(strings.Join(fields[3:], " "))
		out = append(out, observation{time.Unix(0, nanos), fields[1], fields[2], header})
	}
	return out
}

// change is made in each trial, and done tells when it shows.
type change struct {
	url  string
	make func(t *testing.T, e *env, i int)
	done func(before, now observation, i int) bool
}

func changeKinds() map[string]change {
	const api, other = "https://api.changes.example/v1/x", "https://other.changes.example/v1/x"
	return map[string]change{
		"rule": {api, func(t *testing.T, e *env, i int) {
			e.patchPolicy(t, replace("/spec/egress/rules/0/http/0/methods", [][]string{{"POST"}, {"GET", "POST"}}[i%2]))
		}, func(_, now observation, i int) bool { return now.status == []string{"403", "200"}[i%2] }},
		"credential": {api, func(t *testing.T, e *env, i int) {
			e.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: openai}\nstringData: {key: sk-change-%d}\n", i+1))
		}, func(_, now observation, i int) bool { return now.header == fmt.Sprintf("Bearer sk-change-%d", i+1) }},
		"leaf": {api, func(t *testing.T, e *env, _ int) {
			e.patchPolicy(t, replace("/metadata/annotations", map[string]string{v1alpha1.AnnotationRotateLeaf: time.Now().UTC().Format(time.RFC3339)}))
		}, func(before, now observation, _ int) bool { return now.status == "200" && now.serial != before.serial }},
		// Without interception the request cannot be seen, and a rule with http lets nothing through.
		"domains": {other, func(t *testing.T, e *env, i int) {
			domains := []string{"api.changes.example", "held.changes.example"}
			if i%2 == 0 {
				domains = append(domains, "other.changes.example")
			}
			e.patchPolicy(t, replace("/spec/mitm/domains", domains))
		}, func(_, now observation, i int) bool { return (now.status == "200") == (i%2 == 0) }},
	}
}

// TestChanges measures from the answer of the API server to the effect on requests of a running pod, with a kubelet as it is by default.
func TestChanges(t *testing.T) {
	e := newChanging(t, "agent")
	n := trialsPerChange()
	for name, c := range changeKinds() {
		t.Run(name, func(t *testing.T) {
			output := e.background("agent", "/tool", "follow", c.url, strconv.Itoa(5+n*int(between/time.Millisecond+700)/1000))
			time.Sleep(2 * time.Second)
			var made []time.Time
			for i := range n {
				c.make(t, e, i)
				made = append(made, time.Now())
				time.Sleep(between)
			}
			log := <-output
			if !strings.Contains(log, "ok ") {
				t.Fatal(log)
			}
			report(t, name, delays(t, c, made, observations(t, log)))
			if name == "leaf" && strings.Contains(log, "error") {
				t.Errorf("requests failed while the leaf was rotated:\n%s", log)
			}
		})
	}
}

// delays finds for each change the first observation that shows it.
func delays(t *testing.T, c change, made []time.Time, seen []observation) []time.Duration {
	t.Helper()
	var out []time.Duration
	for i, at := range made {
		// It can show before the API server's answer is read here.
		began := at.Add(-between / 2)
		k := slices.IndexFunc(seen, func(o observation) bool { return !o.at.Before(began) })
		if k < 0 {
			k = len(seen)
		}
		before := observation{}
		if k > 0 {
			before = seen[k-1]
		}
		hit := slices.IndexFunc(seen[k:], func(o observation) bool { return c.done(before, o, i) })
		if hit < 0 {
			t.Errorf("change %d at %s never showed; seen: %v", i, at.Format(time.StampMilli), seen)
			continue
		}
		out = append(out, max(0, seen[k+hit].at.Sub(at)))
	}
	return out
}

func report(t *testing.T, name string, list []time.Duration) {
	t.Helper()
	if len(list) == 0 {
		t.Fatal("nothing was measured")
	}
	slices.Sort(list)
	last := list[len(list)-1]
	t.Logf("%s: %d trials, min %s, median %s, max %s", name, len(list), list[0].Truncate(time.Millisecond),
		list[len(list)/2].Truncate(time.Millisecond), last.Truncate(time.Millisecond))
	if last > arrives {
		t.Errorf("a change took %s", last)
	}
}

// background runs a command in a pod and sends its output when it has ended.
func (e *env) background(pod string, command ...string) <-chan string {
	out := make(chan string, 1)
	go func() {
		result, err := e.Exec(e.ctx, e.ns, pod, "app", command...)
		if err != nil {
			out <- "error " + err.Error()
			return
		}
		out <- result.Stdout + result.Stderr
	}()
	return out
}

// TestRotateCA changes the CA under load: no request fails, and the pod is not restarted, as it trusts the next CA from its start on.
func TestRotateCA(t *testing.T) {
	e := newChanging(t, "agent")
	output := e.background("agent", "/tool", "follow", "https://api.changes.example/v1/x", "12")
	time.Sleep(3 * time.Second)
	e.patchPolicy(t, replace("/metadata/annotations", map[string]string{v1alpha1.AnnotationRotateCA: time.Now().UTC().Format(time.RFC3339)}))
	log := <-output
	serials := map[string]bool{}
	for _, o := range observations(t, log) {
		serials[o.serial] = true
		if o.status != "200" {
			t.Errorf("a request failed: %v", o)
		}
	}
	if len(serials) < 2 {
		t.Errorf("the leaf did not change:\n%s", log)
	}
	t.Log(lastLine(log))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// TestRevoke takes the rule of an event stream away: it ends within the drain time, and one on a rule that stays does not.
func TestRevoke(t *testing.T) {
	e := newChanging(t, "agent")
	revoked := e.background("agent", "/tool", "hold", "https://held.changes.example/v1/stream")
	kept := e.background("agent", "/tool", "hold", "https://api.changes.example/v1/stream")
	time.Sleep(2 * time.Second)
	e.patchPolicy(t, `[{"op":"remove","path":"/spec/egress/rules/1"}]`)
	at := time.Now()
	select {
	case log := <-revoked:
		t.Logf("the stream ended after %s: %s", time.Since(at).Truncate(time.Millisecond), lastLine(log))
	case <-time.After(drains):
		t.Errorf("the stream goes on %s after its rule was removed", drains)
	}
	select {
	case log := <-kept:
		t.Errorf("a stream that is allowed ended: %s", log)
	case <-time.After(2 * time.Second):
	}
	if out := e.run(t, "agent", "/tool", "get", "https://held.changes.example/v1/x"); !strings.Contains(out.Stdout, "status: 403") {
		t.Errorf("a new request is not denied: %s", out)
	}
}
