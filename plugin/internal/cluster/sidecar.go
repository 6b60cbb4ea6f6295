package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

// Sidecar is what a pod's Envoy says about itself on its status port.
type Sidecar struct {
	// Revision is the configuration that it runs, as the Secret's annotation config-revision names it.
	Revision string
	// Rejected is the reason why it once refused another one; it matters if Revision is not the wanted one.
	Rejected string
	// Certificates are those that it shows to the workload.
	Certificates []Certificate
	// Err says why it could not be asked.
	Err error
}

// Certificate is one that Envoy shows.
type Certificate struct {
	Serial    string    `json:"serial_number"`
	NotBefore time.Time `json:"valid_from"`
	NotAfter  time.Time `json:"expiration_time"`
	Path      string    `json:"path"`
}

// Leaf is the certificate of intercepted domains, nil if there is none.
func (s *Sidecar) Leaf() *Certificate {
	if len(s.Certificates) == 0 {
		return nil
	}
	return &s.Certificates[0]
}

// StatusPort is where the pod's Envoy answers.
func StatusPort(pod *corev1.Pod) int32 {
	if c := inject.ProxyOf(pod); c != nil && c.StartupProbe != nil && c.StartupProbe.HTTPGet != nil {
		return c.StartupProbe.HTTPGet.Port.IntVal
	}
	return v1alpha1.DefaultAdminPort
}

// Sidecar asks the pod's Envoy, through the API server.
func (c *Client) Sidecar(ctx context.Context, pod *corev1.Pod) Sidecar {
	var out Sidecar
	page := func(path string) []byte {
		if out.Err != nil {
			return nil
		}
		var data []byte
		data, out.Err = c.Page(ctx, pod.Namespace, pod.Name, StatusPort(pod), path)
		return data
	}
	revision, rejected, certs := page(xds.StatusRevision), page(xds.StatusRejected), page(xds.StatusCerts)
	if out.Err != nil {
		out.Err = fmt.Errorf("asking the proxy of pod %s/%s: %w", pod.Namespace, pod.Name, out.Err)
		return out
	}
	out.read(revision, rejected, certs)
	return out
}

func (s *Sidecar) read(revision, rejected, certs []byte) {
	stats, err := xds.ParseStats(revision)
	if s.Err = err; err != nil {
		return
	}
	s.Revision = stats[xds.ListenersVersion]
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		if part, ok := strings.CutSuffix(name, ".update_rejected"); ok && stats[name] != "0" {
			s.Rejected = "an update of " + part
			break
		}
	}
	if reason := xds.ParseRejected(rejected); reason != "" {
		s.Rejected = reason
	}
	s.Certificates = certificates(certs)
}

// certificates are those with a key, in Envoy's /certs; the rest is what it trusts.
func certificates(body []byte) []Certificate {
	var page struct {
		Certificates []struct {
			Chain []Certificate `json:"cert_chain"`
		} `json:"certificates"`
	}
	if json.Unmarshal(body, &page) != nil {
		return nil
	}
	var out []Certificate
	seen := map[string]bool{}
	for _, entry := range page.Certificates {
		for _, certificate := range entry.Chain {
			if certificate.Serial != "" && !seen[certificate.Serial] {
				seen[certificate.Serial] = true
				out = append(out, certificate)
			}
		}
	}
	return out
}

// atOnce bounds how many pods are asked at the same time.
const atOnce = 8

// Sidecars asks many pods; the answers stand in their order. Pods that do not run are not asked.
func (c *Client) Sidecars(ctx context.Context, pods []corev1.Pod) []Sidecar {
	out := make([]Sidecar, len(pods))
	slots := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for i := range pods {
		if pods[i].Status.Phase != corev1.PodRunning {
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			out[i] = c.Sidecar(ctx, &pods[i])
		})
	}
	wait.Wait()
	return out
}
