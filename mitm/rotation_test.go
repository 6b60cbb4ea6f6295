package mitm

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// store writes and reads a state back, as a reconciler that starts anew does.
func store(t *testing.T, r Rotation) Rotation {
	t.Helper()
	data, err := r.RevealData()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRotation(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.RevealData()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(data, again); diff != "" {
		t.Fatalf("stored state changes when it is read and written (-first +second):\n%s", diff)
	}
	return back
}

func TestRotationStepByStep(t *testing.T) {
	r := Rotation{Current: newCA(t, 1)}
	first := r.Current.Root()
	asked := now.Add(40 * day)
	moves := []struct {
		facts   Facts
		step    Step
		trusted int
	}{
		{Facts{Now: now}, StepPrepare, 2},
		{Facts{Now: now, BundlesWithoutNext: 2}, StepWait, 2},
		{Facts{Now: now.Add(time.Minute)}, StepPublish, 2},
		{Facts{Now: now.Add(30 * day)}, StepNone, 2},
		{Facts{Now: now.Add(30 * day), Requested: asked}, StepNone, 2},
		{Facts{Now: now.Add(30 * day), Requested: now.Add(-day)}, StepNone, 2},
		{Facts{Now: asked, Requested: asked, PodsWithoutNext: 3}, StepWait, 2},
		{Facts{Now: asked.Add(day), Requested: asked}, StepSwitch, 2},
		{Facts{Now: asked.Add(day), Requested: asked}, StepWait, 2},
		{Facts{Now: asked.Add(3 * day), Requested: asked, LeavesOfPrevious: 1}, StepWait, 2},
		{Facts{Now: asked.Add(3 * day), Requested: asked}, StepDrop, 1},
		{Facts{Now: asked.Add(3 * day), Requested: asked}, StepPrepare, 2},
		{Facts{Now: asked.Add(3 * day), Requested: asked}, StepPublish, 2},
		{Facts{Now: asked.Add(3 * day), Requested: asked}, StepNone, 2},
	}
	for i, m := range moves {
		if got := r.NextStep(m.facts); got != m.step {
			t.Fatalf("move %d: step %s, want %s", i, got, m.step)
		}
		next, err := r.Apply(m.step, m.facts, random(2), "demo/agent")
		if err != nil {
			t.Fatal(err)
		}
		for _, signer := range []*CA{r.Current, next.Current} {
			if !contains(next.Trusted(), signer.Root()) && m.step != StepDrop {
				t.Errorf("move %d: a CA that signs or signed just now is not trusted", i)
			}
		}
		if r = store(t, next); len(r.Trusted()) != m.trusted {
			t.Errorf("move %d: %d trusted roots, want %d", i, len(r.Trusted()), m.trusted)
		}
	}
	if r.Current.Root().Equal(first) || contains(r.Trusted(), first) {
		t.Error("the old CA is still there")
	}
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	for _, c := range certs {
		if c.Equal(cert) {
			return true
		}
	}
	return false
}

func TestRotationDeadlines(t *testing.T) {
	current, next := newCA(t, 1), newCA(t, 2)
	end := now.Add(CALifetime)
	cases := map[string]struct {
		state Rotation
		facts Facts
		want  Step
	}{
		"pods wait":            {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: end.Add(-SwitchDeadline - 1), PodsWithoutNext: 1}, StepWait},
		"pods waited too long": {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: end.Add(-SwitchDeadline), PodsWithoutNext: 1}, StepSwitch},
		"expired, published":   {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: end.Add(day), PodsWithoutNext: 1}, StepSwitch},
		"young":                {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: now.Add(day)}, StepNone},
		"due":                  {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: end.Add(-CARenewBefore)}, StepSwitch},
		"next grows old":       {Rotation{Current: current, Next: next, NextPublished: now}, Facts{Now: end.Add(1 - CALifetime/2)}, StepPrepare},
		"expired, no next":     {Rotation{Current: current}, Facts{Now: end.Add(day)}, StepPrepare},
		"overlap":              {Rotation{Current: next, Previous: current.Root(), Switched: now}, Facts{Now: now.Add(MinOverlap - 1)}, StepWait},
		"after the overlap":    {Rotation{Current: next, Previous: current.Root(), Switched: now}, Facts{Now: now.Add(MinOverlap)}, StepDrop},
		"nothing stored":       {Rotation{}, Facts{Now: now}, StepNone},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.state.NextStep(c.facts); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRotationRefuses(t *testing.T) {
	r := Rotation{Current: newCA(t, 1), Next: newCA(t, 2), NextPublished: now}
	for _, step := range []Step{StepPrepare, StepPublish, StepSwitch, StepDrop} {
		if _, err := r.Apply(step, Facts{Now: now}, random(2), "x"); err == nil {
			t.Errorf("step %s was done although it is not due", step)
		}
	}
	if _, err := (Rotation{}).RevealData(); err == nil {
		t.Error("an empty state was encoded")
	}
	data, err := Rotation{Current: r.Current, Next: newCA(t, 2), NextPublished: now}.RevealData()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{v1alpha1.CACertKey: "read CA", v1alpha1.CAKeyKey: "read CA", KeyNextCert: "read CA", KeyNextKey: "read CA", KeyNextPublished: KeyNextPublished} {
		damaged := map[string][]byte{}
		for k, v := range data {
			damaged[k] = v
		}
		damaged[key] = []byte("damaged")
		if _, err := ParseRotation(damaged); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("damaged %s: error %v", key, err)
		}
	}
}
