package mitm

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

func storedCA(t testing.TB, ca *CA) StoredPair {
	t.Helper()
	return StoredPair{Present, ca.CertificatePEM(), reveal(t, ca.Key())}
}

func storedLeaf(t testing.TB, l *Leaf) StoredPair {
	t.Helper()
	return StoredPair{Present, l.CertificatePEM(), reveal(t, l.Key())}
}

type outcome struct {
	CA, Leaf             Action
	CAReason, LeafReason Reason
}

func TestDecide(t *testing.T) {
	ca, other := newCA(t, 1), newCA(t, 2)
	leaf := newLeaf(t, ca, "a.example", "192.0.2.7")
	broken := StoredPair{Present, []byte("garbage"), reveal(t, ca.Key())}
	mixed := StoredPair{Present, leaf.CertificatePEM(), reveal(t, other.Key())}
	foreign := newLeaf(t, other, "a.example", "192.0.2.7")
	domains := []string{"192.0.2.7", "A.example"}
	fine := outcome{Keep, Keep, ReasonUpToDate, ReasonUpToDate}
	issue := func(r Reason) outcome { return outcome{Keep, Create, ReasonUpToDate, r} }
	two := now.Add(-Backdate).Add((LeafLifetime + Backdate) / 3 * 2)
	cases := map[string]struct {
		now      time.Time
		ca, leaf StoredPair
		owner    Owner
		domains  []string
		want     outcome
	}{
		"up to date":        {now, storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, fine},
		"first time":        {now, StoredPair{Presence: Absent}, StoredPair{Presence: Absent}, OwnerNetproxy, domains, outcome{Create, Create, ReasonMissing, ReasonCAChanged}},
		"no leaf":           {now, storedCA(t, ca), StoredPair{Presence: Absent}, OwnerNetproxy, domains, issue(ReasonMissing)},
		"leaf unreadable":   {now, storedCA(t, ca), broken, OwnerNetproxy, domains, issue(ReasonUnreadable)},
		"leaf no pair":      {now, storedCA(t, ca), mixed, OwnerNetproxy, domains, issue(ReasonKeyMismatch)},
		"leaf of other CA":  {now, storedCA(t, ca), storedLeaf(t, foreign), OwnerNetproxy, domains, issue(ReasonCAChanged)},
		"domain added":      {now, storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, append(domains, "b.example"), issue(ReasonDomainsChanged)},
		"domain removed":    {now, storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains[:1], issue(ReasonDomainsChanged)},
		"before two thirds": {two.Add(-time.Second), storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, fine},
		"at two thirds":     {two, storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, issue(ReasonRenewalDue)},
		"leaf expired":      {now.Add(100 * day), storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, issue(ReasonRenewalDue)},
		"clock went back":   {now.Add(-Backdate), storedCA(t, ca), storedLeaf(t, lateLeaf(t, ca)), OwnerNetproxy, domains, issue(ReasonNotYetValid)},
		"not for servers":   {now, storedCA(t, ca), clientLeaf(t, ca), OwnerNetproxy, []string{"a.example"}, issue(ReasonUnfitForServers)},
		"CA expiring":       {now.Add(CALifetime - CARenewBefore), storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, outcome{Rotate, Create, ReasonExpiring, ReasonRenewalDue}},
		"CA expired":        {now.Add(CALifetime + day), storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, domains, outcome{Rotate, Create, ReasonExpired, ReasonCAChanged}},
		"user CA expiring":  {now.Add(CALifetime - CARenewBefore), storedCA(t, ca), storedLeaf(t, leaf), OwnerUser, domains, outcome{Keep, Create, ReasonUserCAExpiring, ReasonRenewalDue}},
		"off":               {now, storedCA(t, ca), storedLeaf(t, leaf), OwnerNetproxy, nil, outcome{Remove, Remove, ReasonInterceptionOff, ReasonInterceptionOff}},
		"off and gone":      {now, StoredPair{Presence: Absent}, StoredPair{Presence: Absent}, OwnerNetproxy, nil, fine},
		"off, user's CA":    {now, storedCA(t, ca), storedLeaf(t, leaf), OwnerUser, nil, outcome{Keep, Remove, ReasonInterceptionOff, ReasonInterceptionOff}},
		"off, unreadable":   {now, broken, broken, OwnerNetproxy, nil, outcome{Remove, Remove, ReasonInterceptionOff, ReasonInterceptionOff}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := Decide(c.now, c.ca, c.owner, c.leaf, c.domains)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, outcome{d.CA.Action, d.Leaf.Action, d.CA.Reason, d.Leaf.Reason}); diff != "" {
				t.Errorf("decision (-want +got):\n%s\n%+v", diff, d)
			}
		})
	}
}

func lateLeaf(t testing.TB, ca *CA) *Leaf {
	t.Helper()
	leaf, err := Issue(ca, []string{"192.0.2.7", "a.example"}, random(3), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func clientLeaf(t testing.TB, ca *CA) StoredPair {
	t.Helper()
	leaf := newLeaf(t, ca, "a.example")
	template := *leaf.cert
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := sign(&template, ca.cert, leaf.key, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return storedLeaf(t, &Leaf{cert: cert, key: leaf.key})
}

func TestDecideErrors(t *testing.T) {
	ca := newCA(t, 1)
	good, leaf := storedCA(t, ca), storedLeaf(t, newLeaf(t, ca, "a.example"))
	mismatch := StoredPair{Present, ca.CertificatePEM(), reveal(t, newCA(t, 2).Key())}
	cases := map[string]struct {
		ca, leaf StoredPair
		owner    Owner
		now      time.Time
		want     string
	}{
		"CA empty":          {StoredPair{Presence: Present}, leaf, OwnerNetproxy, now, "it exists and is kept"},
		"CA garbage":        {StoredPair{Present, []byte("x"), []byte("y")}, leaf, OwnerNetproxy, now, "it exists and is kept"},
		"CA cut off":        {StoredPair{Present, good.CertPEM[:300], good.KeyPEM}, leaf, OwnerNetproxy, now, "damaged"},
		"CA no pair":        {mismatch, leaf, OwnerNetproxy, now, "do not belong together"},
		"CA unknown":        {StoredPair{}, leaf, OwnerNetproxy, now, "read it again"},
		"leaf unknown":      {good, StoredPair{}, OwnerNetproxy, now, "read it again"},
		"user's CA absent":  {StoredPair{Presence: Absent}, leaf, OwnerUser, now, "does not exist"},
		"user's CA expired": {good, leaf, OwnerUser, now.Add(CALifetime + day), "expired"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := Decide(c.now, c.ca, c.owner, c.leaf, []string{"a.example"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %+v and error %v, want %q", d, err, c.want)
			}
			if d.CA.Action == Create {
				t.Error("an error goes along with a new CA")
			}
		})
	}
	if _, err := Decide(now, StoredPair{}, OwnerNetproxy, StoredPair{}, nil); !errors.Is(err, ErrPresence) {
		t.Errorf("interception off, presence unknown: error %v", err)
	}
}

// TestRenewalSettles: a leaf that its CA cuts short is not issued again and again.
func TestRenewalSettles(t *testing.T) {
	root := userCA(t, "short", ecKey(t), nil, func(c *x509.Certificate) { c.NotAfter = now.Add(9 * day) })
	ca, err := Parse(pemOf(root), reveal(t, root.key), now)
	if err != nil {
		t.Fatal(err)
	}
	leaf := newLeaf(t, ca, "a.example")
	verdict, err := DecideLeaf(now.Add(8*day), ca, storedLeaf(t, leaf), []string{"a.example"})
	if err != nil {
		t.Fatal(err)
	}
	if verdict.Action != Keep {
		t.Errorf("got %+v although a new leaf would not live longer", verdict)
	}
}
