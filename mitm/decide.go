package mitm

import (
	"errors"
	"fmt"
	"time"
)

// Presence says what a reader knows about a stored object. The zero value is "unknown", so that a lookup whose error
// was lost can never be taken for absence, which would make a new CA that no running pod trusts.
type Presence int

// The values of Presence.
const (
	Unknown Presence = iota
	Absent
	Present
)

// StoredPair is a certificate and its key as they were found.
type StoredPair struct {
	Presence Presence
	CertPEM  []byte
	KeyPEM   []byte
}

// Owner says who renews a CA.
type Owner string

// The owners of a CA.
const (
	OwnerNetproxy Owner = "netproxy" // generated, and rotated in time
	OwnerUser     Owner = "user"     // given by caSecretRef: read, never written
)

// Action is what to do with a certificate.
type Action string

// The actions. Rotate starts or continues a Rotation and exists for CAs only.
const (
	Keep   Action = "Keep"
	Create Action = "Create" // of a leaf: issue
	Rotate Action = "Rotate"
	Remove Action = "Remove"
)

// Reason is why, as a CamelCase word for conditions and events.
type Reason string

// The reasons of actions on CA and leaf.
const (
	ReasonUpToDate        Reason = "UpToDate"
	ReasonInterceptionOff Reason = "InterceptionOff" // the policy intercepts nothing: no key is kept
	ReasonMissing         Reason = "Missing"         // there was none
	ReasonExpiring        Reason = "Expiring"        // CA: less than CARenewBefore is left
	ReasonExpired         Reason = "Expired"         // CA: netproxy's own has ended; no leaf can be issued before it is rotated
	ReasonUserCAExpiring  Reason = "UserCAExpiring"  // CA: as Expiring, but its owner has to act
	ReasonUnreadable      Reason = "Unreadable"      // leaf: damaged
	ReasonKeyMismatch     Reason = "KeyMismatch"     // leaf: certificate and key are no pair
	ReasonDomainsChanged  Reason = "DomainsChanged"  // leaf: other SANs are wanted
	ReasonCAChanged       Reason = "CAChanged"       // leaf: signed by another CA, or sent with another chain
	ReasonRenewalDue      Reason = "RenewalDue"      // leaf: two thirds of its life are over
	ReasonNotYetValid     Reason = "NotYetValid"     // leaf: it begins in the future
	ReasonUnfitForServers Reason = "UnfitForServers" // leaf: a client would refuse it for another reason
)

// CARenewBefore is how long before the end of a CA its successor is published. Pods started within this time trust both
// and need no restart.
const CARenewBefore = 365 * 24 * time.Hour

// Verdict is an action, its reason, and one line for people.
type Verdict struct {
	Action  Action
	Reason  Reason
	Message string
}

// Decision is what to do with both certificates of a policy.
type Decision struct {
	CA   Verdict
	Leaf Verdict
}

// ErrPresence is wrapped by the errors about a lookup whose outcome is unknown.
var ErrPresence = errors.New("it is not known whether one exists: read it again")

// DecideCA says whether to keep, create or rotate. On Keep and Rotate it returns the CA that signs now. A CA that
// exists and cannot be read or used is an error, never a reason to make a new one: pods trust the old one, and its key may
// come back. A user's CA is never created either.
func DecideCA(now time.Time, stored StoredPair, owner Owner) (Verdict, *CA, error) {
	switch {
	case stored.Presence == Absent && owner == OwnerNetproxy:
		return Verdict{Create, ReasonMissing, "the policy has no CA yet"}, nil, nil
	case stored.Presence == Absent:
		return Verdict{}, nil, errors.New("decide on CA: the Secret that the policy names does not exist: create it, or remove caSecretRef")
	case stored.Presence != Present:
		return Verdict{}, nil, fmt.Errorf("decide on CA: %w", ErrPresence)
	}
	ca, err := readCA(stored.CertPEM, stored.KeyPEM)
	if err == nil {
		err = ca.usable(now)
	}
	if errors.Is(err, ErrExpired) && owner == OwnerNetproxy {
		return Verdict{Rotate, ReasonExpired, err.Error()}, ca, nil
	}
	if err != nil {
		return Verdict{}, nil, fmt.Errorf("decide on CA: it exists and is kept, but cannot be used: restore it, or delete it to get a new one: %w", err)
	}
	return caVerdict(now, ca, owner), ca, nil
}

func caVerdict(now time.Time, ca *CA, owner Owner) Verdict {
	end := ca.NotAfter()
	if now.Before(end.Add(-CARenewBefore)) {
		return Verdict{Keep, ReasonUpToDate, "valid until " + end.Format(time.RFC3339)}
	}
	message := "ends on " + end.Format(time.RFC3339)
	if owner == OwnerUser {
		return Verdict{Keep, ReasonUserCAExpiring, message + ": replace it in its Secret"}
	}
	return Verdict{Rotate, ReasonExpiring, message}
}

// DecideLeaf says whether the stored leaf can stay. A leaf can be issued again at any time, so that an unreadable
// one is no error.
func DecideLeaf(now time.Time, ca *CA, stored StoredPair, domains []string) (Verdict, error) {
	want, err := parseSANs(domains)
	if err != nil {
		return Verdict{}, fmt.Errorf("decide on leaf: %w", err)
	}
	switch stored.Presence {
	case Unknown:
		return Verdict{}, fmt.Errorf("decide on leaf: %w", ErrPresence)
	case Absent:
		return Verdict{Create, ReasonMissing, "the policy has no leaf yet"}, nil
	}
	leaf, err := ParseLeaf(stored.CertPEM, stored.KeyPEM)
	if errors.Is(err, ErrMismatch) {
		return Verdict{Create, ReasonKeyMismatch, err.Error()}, nil
	}
	if err != nil {
		return Verdict{Create, ReasonUnreadable, err.Error()}, nil
	}
	return leafVerdict(now, ca, leaf, want), nil
}

func leafVerdict(now time.Time, ca *CA, leaf *Leaf, want sanSet) Verdict {
	have := sansOf(leaf.cert)
	switch {
	case !leaf.issuedBy(ca):
		return Verdict{Create, ReasonCAChanged, fmt.Sprintf("signed by %q, the CA is %q", leaf.cert.Issuer, ca.cert.Subject)}
	case !want.equal(have):
		return Verdict{Create, ReasonDomainsChanged, "domains changed: " + want.difference(have)}
	case now.Before(leaf.cert.NotBefore):
		return Verdict{Create, ReasonNotYetValid, "not valid before " + leaf.cert.NotBefore.Format(time.RFC3339)}
	case !now.Before(leaf.RenewAt()) && leafEnd(ca, now).After(leaf.cert.NotAfter):
		return Verdict{Create, ReasonRenewalDue, "ends on " + leaf.cert.NotAfter.Format(time.RFC3339)}
	}
	if err := leaf.verify(ca, now); err != nil {
		return Verdict{Create, ReasonUnfitForServers, err.Error()}
	}
	return Verdict{Keep, ReasonUpToDate, "renewed on " + leaf.RenewAt().Format(time.RFC3339)}
}

// issuedBy compares signature and chain: a user can replace an intermediate and keep its key.
func (l *Leaf) issuedBy(ca *CA) bool {
	if l.cert.CheckSignatureFrom(ca.cert) != nil || len(l.chain) != len(ca.intermediates()) {
		return false
	}
	for i, c := range ca.intermediates() {
		if !c.Equal(l.chain[i]) {
			return false
		}
	}
	return true
}

// Decide combines DecideCA and DecideLeaf for a policy that intercepts domains. Without domains both are removed, since a key
// that signs nothing is only a risk; a user's CA stays, as it is not netproxy's. When the CA is created, so is the leaf.
func Decide(now time.Time, ca StoredPair, owner Owner, leaf StoredPair, domains []string) (Decision, error) {
	if len(domains) == 0 {
		return decideOff(ca, owner, leaf)
	}
	verdict, current, err := DecideCA(now, ca, owner)
	if err != nil {
		return Decision{}, err
	}
	if verdict.Action == Create || verdict.Reason == ReasonExpired {
		return Decision{CA: verdict, Leaf: Verdict{Create, ReasonCAChanged, "the CA will be another one"}}, nil
	}
	leafDecision, err := DecideLeaf(now, current, leaf, domains)
	if err != nil {
		return Decision{}, err
	}
	return Decision{CA: verdict, Leaf: leafDecision}, nil
}

func decideOff(ca StoredPair, owner Owner, leaf StoredPair) (Decision, error) {
	if ca.Presence == Unknown || leaf.Presence == Unknown {
		return Decision{}, fmt.Errorf("decide on certificates: %w", ErrPresence)
	}
	off := func(p Presence) Verdict {
		if p == Absent {
			return Verdict{Keep, ReasonUpToDate, "there is none, and none is needed"}
		}
		return Verdict{Remove, ReasonInterceptionOff, "the policy intercepts nothing"}
	}
	decision := Decision{CA: off(ca.Presence), Leaf: off(leaf.Presence)}
	if owner == OwnerUser {
		decision.CA = Verdict{Keep, ReasonInterceptionOff, "the CA is the user's"}
	}
	return decision, nil
}
