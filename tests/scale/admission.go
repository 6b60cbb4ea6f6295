package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/webhook"
	hooks "github.com/netproxy/netproxy/webhook/admission"
)

// block is how many reviews a program gets before it is the other's turn.
const block = 50

// review is a request that both programs get.
type review struct {
	name, path string
	body       []byte
	// patched says whether netproxy has to answer with a patch.
	patched bool
	// creation is one of the two reviews of a pod that is created.
	creation bool
}

// endpoint is a program, as the API server would call it.
type endpoint struct {
	*program
	client *http.Client
	url    func(review) string

	took []time.Duration
	cpu  time.Duration
}

// admission measures both programs in turns with the same reviews.
func (b *bench) admission(ctx context.Context, p *program) error {
	step("admission")
	reviews, err := b.reviews(ctx)
	if err != nil {
		return err
	}
	other, err := b.noop.start(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { _ = other.stop() }()
	both, err := b.endpoints(ctx, other, p)
	if err != nil {
		return err
	}
	if _, err := p.quiet(ctx); err != nil {
		return err
	}
	b.report.section(fmt.Sprintf("Admission over HTTPS, %d requests of each kind to each program, in turns of %d", b.settings.rounds*block, block))
	stop := b.profile(ctx, "admission")
	defer stop()
	var creation costs
	for _, r := range reviews {
		c, err := b.compare(ctx, r, both)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if r.creation {
			creation = creation.plus(c)
		}
	}
	p50, cpu := creation.ratios()
	b.report.add("a pod's creation, inject and verify together: ratio of p50", judged(p50, 2.0), "%.2f", p50)
	b.report.add("  ratio of CPU", judged(cpu, 2.5), "%.2f", cpu)
	return nil
}

// costs are those of a request, of the no-op and of netproxy.
type costs struct{ p50, cpu [2]time.Duration }

func (c costs) plus(d costs) costs {
	for i := range 2 {
		c.p50[i] += d.p50[i]
		c.cpu[i] += d.cpu[i]
	}
	return c
}

func (c costs) ratios() (p50, cpu float64) {
	return float64(c.p50[1]) / float64(c.p50[0]), float64(c.cpu[1]) / float64(c.cpu[0])
}

func (b *bench) compare(ctx context.Context, r review, both [2]*endpoint) (costs, error) {
	var out costs
	var ratios []float64
	for round := range b.settings.rounds + 2 {
		var medians [2]float64
		for i, e := range both {
			check := unread
			if round == 0 && i == 1 {
				check = r.check
			}
			took, cpu, err := e.block(ctx, r, check)
			if err != nil {
				return out, err
			}
			if round < 2 {
				e.took, e.cpu = nil, 0 // the first ones warm up
				continue
			}
			e.took, e.cpu = append(e.took, took...), e.cpu+cpu
			medians[i] = float64(median(took))
		}
		if round >= 2 {
			ratios = append(ratios, medians[1]/medians[0])
		}
	}
	n := time.Duration(b.settings.rounds * block)
	for i, name := range []string{"no-op", "netproxy"} {
		e := both[i]
		out.p50[i], out.cpu[i] = median(e.took), e.cpu
		b.report.add(r.name+", "+name, fmt.Sprintf("request of %d bytes", len(r.body)), "p50 %s, p99 %s, CPU %s", milliseconds(median(e.took)), milliseconds(quantile(e.took, 0.99)), milliseconds(e.cpu/n))
	}
	p50, cpu := median(ratios), float64(both[1].cpu)/float64(both[0].cpu)
	b.report.add("  ratio of p50", judged(p50, 2.0), "%.2f (quartiles of the turns %.2f to %.2f)", p50, quantile(ratios, 0.25), quantile(ratios, 0.75))
	b.report.add("  ratio of CPU", judged(cpu, 2.5), "%.2f", cpu)
	return out, nil
}

// unread is for answers of which only the time counts.
func unread([]byte) error { return nil }

// block sends requests one after the other; check judges each answer.
func (e *endpoint) block(ctx context.Context, r review, check func([]byte) error) ([]time.Duration, time.Duration, error) {
	before, err := e.program.cpu()
	if err != nil {
		return nil, 0, err
	}
	took := make([]time.Duration, 0, block)
	for range block {
		began := time.Now()
		answer, err := e.send(ctx, r)
		if err != nil {
			return nil, 0, err
		}
		took = append(took, time.Since(began))
		if err := check(answer); err != nil {
			return nil, 0, err
		}
	}
	after, err := e.program.cpu()
	return took, after - before, err
}

func (e *endpoint) send(ctx context.Context, r review) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url(r), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func (r review) check(answer []byte) error {
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &got); err != nil {
		return err
	}
	if got.Response == nil || !got.Response.Allowed || (len(got.Response.Patch) > 0) != r.patched {
		return fmt.Errorf("not the answer that is measured: %s", answer)
	}
	return nil
}

func (b *bench) endpoints(ctx context.Context, noop, netproxy *program) ([2]*endpoint, error) {
	var secret corev1.Secret
	if err := b.api.Get(ctx, client.ObjectKey{Namespace: own, Name: webhook.ServingSecretName}, &secret); err != nil {
		return [2]*endpoint{}, err
	}
	state, err := mitm.ParseRotation(secret.Data)
	if err != nil {
		return [2]*endpoint{}, err
	}
	theirs, err := os.ReadFile(filepath.Join(b.dir, "ca.crt"))
	if err != nil {
		return [2]*endpoint{}, err
	}
	return [2]*endpoint{
		{program: noop, client: caller("localhost", theirs), url: func(review) string { return "https://" + loopback(noop.port) + "/noop" }},
		{program: netproxy, client: caller(serverName(), state.Current.CertificatePEM()), url: func(r review) string { return "https://" + loopback(netproxy.port) + r.path }},
	}, nil
}

// caller speaks HTTP/2 over one connection, as the API server does.
func caller(name string, ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: name, RootCAs: pool, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true,
	}}
}

// reviews are made of pods as the API server hands them over: with its defaults.
func (b *bench) reviews(ctx context.Context) ([]review, error) {
	plain, intercepting := b.items[0], (*item)(nil)
	for _, it := range b.items {
		if it.credential != "" {
			intercepting = it
			break
		}
	}
	if intercepting == nil {
		return nil, errors.New("no policy has a credential")
	}
	var out []review
	for _, it := range []struct {
		name string
		*item
	}{{"names only", plain}, {"interception", intercepting}} {
		user, err := b.defaulted(ctx, userPod(it.item, "review"))
		if err != nil {
			return nil, err
		}
		made, err := b.injected(ctx, it.item, userPod(it.item, "review"))
		if err != nil {
			return nil, err
		}
		if made, err = b.defaulted(ctx, made); err != nil {
			return nil, err
		}
		out = append(out,
			review{"inject, " + it.name, hooks.PathMutatePod, wrap(user, nil), true, true},
			review{"verify, " + it.name, hooks.PathValidatePod, wrap(made, nil), false, true},
			review{"verify an update, " + it.name, hooks.PathValidatePod, wrap(made, made), false, false})
	}
	stranger := userPod(plain, "stranger")
	stranger.Labels["app"] = "stranger"
	stranger, err := b.defaulted(ctx, stranger)
	return append(out, review{"not selected", hooks.PathMutatePod, wrap(stranger, nil), false, false}), err
}

func (b *bench) defaulted(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	err := b.api.Create(ctx, pod, client.DryRunAll)
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	return pod, err
}

func wrap(pod, old *corev1.Pod) []byte {
	pods := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	request := &admissionv1.AdmissionRequest{
		UID: "0b7d9b1e-1f0d-4f0e-9d0a-6f0a3a0a7c11", Kind: kind, Resource: pods, RequestKind: &kind, RequestResource: &pods,
		Name: pod.Name, Namespace: pod.Namespace, Operation: admissionv1.Create,
		UserInfo: authenticationv1.UserInfo{Username: "system:serviceaccount:kube-system:replicaset-controller", Groups: []string{"system:serviceaccounts", "system:authenticated"}},
		Object:   runtime.RawExtension{Raw: encode(pod)}, DryRun: new(false),
	}
	if old != nil {
		request.Operation, request.OldObject = admissionv1.Update, runtime.RawExtension{Raw: encode(old)}
	}
	return encode(&admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request})
}

func encode(object any) []byte {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // types of the API can always be written
	}
	return text
}
