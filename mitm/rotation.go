package mitm

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/netproxy/netproxy/api/names"
)

// Rotation is the stored state of one policy's CA, from which every next step follows: a reconciler that died between
// two steps reads it and goes on. Steps: prepare the next CA, publish both in the bundle, sign with the next one when that is
// due, drop the old one. The next CA is there from the start: a pod that began with it needs no restart when it takes over.
// Rotation values are not changed; Apply returns new ones.
type Rotation struct {
	// Current signs leaves.
	Current *CA
	// Next is trusted before it signs, so that clients know it in time.
	Next *CA
	// NextPublished is when every bundle of the policy held Next; zero before.
	NextPublished time.Time
	// Previous was replaced by Current and is still trusted. Its key is gone.
	Previous *x509.Certificate
	// Switched is when Current began to sign; zero if it always did.
	Switched time.Time
}

// NewRotation makes the CA of a policy that has none, and its successor. No bundle exists yet that lacks it.
func NewRotation(rand io.Reader, now time.Time, name string) (Rotation, error) {
	current, err := Generate(rand, now, name)
	if err != nil {
		return Rotation{}, err
	}
	next, err := Generate(rand, now, name)
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Current: current, Next: next, NextPublished: now}, nil
}

// began is when Current became the CA of the policy.
func (r Rotation) began() time.Time {
	if !r.Switched.IsZero() {
		return r.Switched
	}
	return r.Current.cert.NotBefore.Add(Backdate)
}

// Step is one transition of a Rotation.
type Step string

// The steps in their order. Wait means that a rotation is under way and something outside has to happen first.
const (
	StepNone    Step = "None"
	StepPrepare Step = "Prepare" // generate Next
	StepPublish Step = "Publish" // record that every bundle holds Next
	StepSwitch  Step = "Switch"  // Next becomes Current: leaves are to be issued again
	StepDrop    Step = "Drop"    // forget Previous
	StepWait    Step = "Wait"
)

const (
	// MinOverlap is how long the old root stays trusted after the switch: a changed Secret reaches a pod within 71
	// seconds, a day covers nodes that were away.
	MinOverlap = 24 * time.Hour

	// SwitchDeadline is how long before its end the current CA stops signing, even if pods that do not know the
	// next one are still running: later, leaves would be shorter than a renewal interval.
	SwitchDeadline = LeafLifetime

	// standbyRenewBefore keeps a CA that waits for its turn from being nearly as old as the one that it replaces.
	standbyRenewBefore = CALifetime / 2
)

// Facts are what the cluster shows at the time of a step.
type Facts struct {
	Now time.Time
	// BundlesWithoutNext is the number of namespaces whose bundle lacks Next.
	BundlesWithoutNext int
	// PodsWithoutNext is the number of running pods whose containers began before their bundle held Next:
	// programs read trust stores once.
	PodsWithoutNext int
	// LeavesOfPrevious is the number of leaves in use that Previous signed.
	LeavesOfPrevious int
	// Requested asks to replace a CA that began before this time. One in the future waits.
	Requested time.Time
}

// Fingerprint names a CA briefly, for annotations: the start of the SHA-256 of its certificate.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:6])
}

// NextStep says what to do now.
func (r Rotation) NextStep(f Facts) Step {
	switch {
	case r.Current == nil:
		return StepNone
	case r.Previous != nil:
		return r.whileOverlapping(f)
	case r.Next == nil:
		return StepPrepare
	case r.NextPublished.IsZero() && f.BundlesWithoutNext > 0:
		return StepWait
	case r.NextPublished.IsZero():
		return StepPublish
	case !r.due(f) && r.Next.NotAfter().Before(f.Now.Add(standbyRenewBefore)):
		return StepPrepare
	case !r.due(f):
		return StepNone
	case f.PodsWithoutNext == 0 || !f.Now.Before(r.Current.NotAfter().Add(-SwitchDeadline)):
		return StepSwitch
	}
	return StepWait
}

// due says whether Next has to take over.
func (r Rotation) due(f Facts) bool {
	if !f.Now.Before(r.Current.NotAfter().Add(-CARenewBefore)) {
		return true
	}
	return f.Requested.After(r.began()) && !f.Now.Before(f.Requested)
}

func (r Rotation) whileOverlapping(f Facts) Step {
	if f.LeavesOfPrevious > 0 || f.Now.Before(r.Switched.Add(MinOverlap)) {
		return StepWait
	}
	return StepDrop
}

// Apply does one step and returns the state to store. rand and name are used by StepPrepare only, as in Generate.
func (r Rotation) Apply(step Step, f Facts, rand io.Reader, name string) (Rotation, error) {
	if want := r.NextStep(f); step != want {
		return r, fmt.Errorf("rotate CA: step %s is not due, %s is", step, want)
	}
	switch step {
	case StepPrepare:
		next, err := Generate(rand, f.Now, name)
		if err != nil {
			return r, fmt.Errorf("rotate CA: %w", err)
		}
		r.Next, r.NextPublished = next, time.Time{}
	case StepPublish:
		r.NextPublished = f.Now
	case StepSwitch:
		return Rotation{Current: r.Next, Previous: r.Current.Root(), Switched: f.Now}, nil
	case StepDrop:
		return Rotation{Current: r.Current, Switched: r.Switched}, nil
	}
	return r, nil
}

// Trusted is what the workload's bundle holds of this policy: the root in use, the next one, the previous one.
func (r Rotation) Trusted() []*x509.Certificate {
	var roots []*x509.Certificate
	if r.Current != nil {
		roots = append(roots, r.Current.Root())
	}
	if r.Next != nil {
		roots = append(roots, r.Next.Root())
	}
	if r.Previous != nil {
		roots = append(roots, r.Previous)
	}
	return roots
}

// Chains is every certificate of Trusted and of the chains below, which no upstream may be verified against.
func (r Rotation) Chains() []*x509.Certificate {
	certs := r.Trusted()
	for _, ca := range []*CA{r.Current, r.Next} {
		if ca != nil {
			certs = append(certs, ca.Chain()...)
		}
	}
	return certs
}

// The keys of the Secret that holds a Rotation, in netproxy's own namespace, beside names.CACertKey and CAKeyKey, which
// hold Current.
const (
	KeyNextCert      = "next.crt"
	KeyNextKey       = "next.key"
	KeyNextPublished = "next.published"
	KeyPrevious      = "previous.crt"
	KeySwitched      = "switched"
)

// RevealData encodes the state, private keys included, as the data of that Secret.
func (r Rotation) RevealData() (map[string][]byte, error) {
	if r.Current == nil {
		return nil, errors.New("encode CA: there is none")
	}
	data := map[string][]byte{}
	if err := putCA(data, names.CACertKey, names.CAKeyKey, r.Current); err != nil {
		return nil, err
	}
	if r.Next != nil {
		if err := putCA(data, KeyNextCert, KeyNextKey, r.Next); err != nil {
			return nil, err
		}
		putTime(data, KeyNextPublished, r.NextPublished)
	}
	if r.Previous != nil {
		data[KeyPrevious] = encodeCertificates([]*x509.Certificate{r.Previous})
	}
	putTime(data, KeySwitched, r.Switched)
	return data, nil
}

func putCA(data map[string][]byte, certKey, keyKey string, ca *CA) error {
	key, err := ca.key.RevealPEM()
	if err != nil {
		return fmt.Errorf("encode CA: %w", err)
	}
	data[certKey], data[keyKey] = ca.CertificatePEM(), key
	return nil
}

func putTime(data map[string][]byte, key string, t time.Time) {
	if !t.IsZero() {
		data[key] = []byte(t.UTC().Format(time.RFC3339))
	}
}

// ParseRotation reads what RevealData wrote, or a plain kubernetes.io/tls Secret. Everything in it has to be readable,
// see DecideCA; an expired CA is, and NextStep replaces it.
func ParseRotation(data map[string][]byte) (Rotation, error) {
	var r Rotation
	var errs [5]error
	r.Current, errs[0] = readCA(data[names.CACertKey], data[names.CAKeyKey])
	if len(data[KeyNextCert])+len(data[KeyNextKey]) > 0 {
		r.Next, errs[1] = readCA(data[KeyNextCert], data[KeyNextKey])
		r.NextPublished, errs[2] = getTime(data, KeyNextPublished)
	}
	if len(data[KeyPrevious]) > 0 {
		r.Previous, errs[3] = parseOne(data[KeyPrevious])
	}
	r.Switched, errs[4] = getTime(data, KeySwitched)
	if err := errors.Join(errs[:]...); err != nil {
		return Rotation{}, fmt.Errorf("read the state of the CA: %w", err)
	}
	return r, nil
}

func parseOne(data []byte) (*x509.Certificate, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", KeyPrevious, err)
	}
	return certs[0], nil
}

func getTime(data map[string][]byte, key string) (time.Time, error) {
	if len(data[key]) == 0 {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, string(data[key]))
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", key, err)
	}
	return t, nil
}
