// Package serving keeps the certificate that the API server sees of the webhook, and tells the API server whom to trust.
package serving

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/mitm"
)

// Keys of the Secret besides those of its CA.
const (
	leafCert = "leaf.crt"
	leafKey  = "leaf.key"
)

// lookAgain is how soon another replica's renewal, or a caBundle that somebody emptied, is noticed.
const lookAgain = 10 * time.Second

// Options say whose certificate it is.
type Options struct {
	// Namespace and Service name the webhook's Service, Secret where the certificate lies.
	Namespace, Service, Secret string
	// Configuration is the name of both webhook configurations.
	Configuration string
}

func (o Options) names() []string {
	host := o.Service + "." + o.Namespace + ".svc"
	return []string{host, host + ".cluster.local"}
}

// Keeper holds the certificate in force. Every replica has one; the first makes what is missing.
type Keeper struct {
	Options
	// Client writes, Live reads from the API server itself.
	Client client.Client
	Live   client.Reader
	Log    logr.Logger

	current atomic.Pointer[tls.Certificate]
}

// Certificate is for tls.Config.GetCertificate.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("the serving certificate is not there yet")
}

// Ready is a health check: without a certificate no request can be answered.
func (k *Keeper) Ready(*http.Request) error {
	_, err := k.Certificate(nil)
	return err
}

// NeedLeaderElection is false: every replica serves.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start looks after the certificate until the context ends.
func (k *Keeper) Start(ctx context.Context) error {
	wait := 100 * time.Millisecond
	for {
		if err := k.Keep(ctx, time.Now(), rand.Reader); err != nil && ctx.Err() == nil {
			k.Log.Error(err, "serving certificate")
		} else {
			wait = lookAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Keep does one round: reads or makes the certificate, renews it in time, and brings its CA to the webhook configurations.
func (k *Keeper) Keep(ctx context.Context, now time.Time, rand io.Reader) error {
	secret, err := k.read(ctx, now, rand)
	if err != nil {
		return err
	}
	state, err := mitm.ParseRotation(secret.Data)
	if err != nil {
		return fmt.Errorf("read Secret %s/%s: %w: delete it, and a new one is made", k.Namespace, k.Secret, err)
	}
	// The API server trusts before anything is signed that it would not.
	missing, err := k.publish(ctx, bundle(state.Trusted()))
	if err != nil {
		return err
	}
	if err := k.renew(ctx, secret, state, mitm.Facts{Now: now, BundlesWithoutNext: missing}, rand); err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(secret.Data[leafCert], secret.Data[leafKey])
	if err != nil {
		return fmt.Errorf("load the serving certificate: %w", err)
	}
	k.current.Store(&certificate)
	return nil
}

func (k *Keeper) read(ctx context.Context, now time.Time, rand io.Reader) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := k.Live.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: k.Secret}, &secret)
	if err == nil {
		return &secret, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	state, err := mitm.NewRotation(rand, now, k.names()[0])
	if err != nil {
		return nil, err
	}
	data, err := state.RevealData()
	if err != nil {
		return nil, err
	}
	secret = corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Secret}, Type: corev1.SecretTypeTLS, Data: data}
	if err := k.Client.Create(ctx, &secret); err != nil {
		return nil, fmt.Errorf("store the serving certificate: %w", err)
	}
	return &secret, nil
}

// renew moves the CA on and issues a leaf if one is due. Of two replicas that do so at once one fails, and reads the other's.
func (k *Keeper) renew(ctx context.Context, secret *corev1.Secret, state mitm.Rotation, facts mitm.Facts, rand io.Reader) error {
	changed := false
	if step := state.NextStep(facts); step != mitm.StepNone && step != mitm.StepWait {
		next, err := state.Apply(step, facts, rand, k.names()[0])
		if err != nil {
			return err
		}
		data, err := next.RevealData()
		if err != nil {
			return err
		}
		data[leafCert], data[leafKey] = secret.Data[leafCert], secret.Data[leafKey]
		secret.Data, state, changed = data, next, true
	}
	stored := mitm.StoredPair{Presence: mitm.Absent}
	if len(secret.Data[leafCert]) > 0 {
		stored = mitm.StoredPair{Presence: mitm.Present, CertPEM: secret.Data[leafCert], KeyPEM: secret.Data[leafKey]}
	}
	verdict, err := mitm.DecideLeaf(facts.Now, state.Current, stored, k.names())
	if err != nil {
		return err
	}
	if verdict.Action == mitm.Create {
		if err := k.issue(secret, state, facts.Now, rand); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	if err := k.Client.Update(ctx, secret); err != nil {
		return fmt.Errorf("store the serving certificate: %w", err)
	}
	return nil
}

func (k *Keeper) issue(secret *corev1.Secret, state mitm.Rotation, now time.Time, rand io.Reader) error {
	leaf, err := mitm.Issue(state.Current, k.names(), rand, now)
	if err != nil {
		return fmt.Errorf("issue the serving certificate: %w", err)
	}
	key, err := leaf.Key().RevealPEM()
	if err != nil {
		return err
	}
	secret.Data[leafCert], secret.Data[leafKey] = leaf.CertificatePEM(), key
	return nil
}

func bundle(roots []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range roots {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
	}
	return out.Bytes()
}
