package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/xds"
)

const (
	askTimeout = 2 * time.Second
	// maxPage bounds what is read of an answer, in bytes: it comes from a pod.
	maxPage = 4 << 20
	// maxReason is how much of Envoy's reason a status holds.
	maxReason = 2048
)

// proxies reads the status ports of sidecars.
type proxies struct{ http *http.Client }

func newProxies() *proxies {
	return &proxies{&http.Client{
		Timeout: askTimeout,
		// Each pod is asked rarely: a kept connection would only be in its way.
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: askTimeout}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a status port does not redirect")
		},
	}}
}

// ask finds out what a pod's proxy runs. Certificates are a long page: they are read only if a new leaf is to be confirmed. before are the
// refusals that are past.
func (p *proxies) ask(ctx context.Context, pod *corev1.Pod, want Outcome, before map[string]string) Observation {
	base := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(statusPort(pod))))
	stats, err := p.stats(ctx, base)
	if err != nil {
		return Observation{Unreachable: err.Error()}
	}
	out := Observation{ConfigRevision: stats[xds.ListenersVersion], SecretVersions: map[string]string{}, Refusals: refusals(stats)}
	for stat := range want.SecretVersions {
		out.SecretVersions[stat] = stats[stat]
	}
	if part := refusedPart(stats, want, before); part != "" {
		out.ConfigRevision, out.Rejected = stats[part+versionStat], p.reason(ctx, base, part)
	}
	if want.LeafSerial != "" {
		if out.LeafSerial, err = p.leaf(ctx, base, want.LeafSerial); err != nil {
			out.Unreachable = err.Error()
		}
	}
	return out
}

// Ends of the stats of each part of a configuration that Envoy loads by itself. A file that it cannot even parse is a failure to Envoy.
const (
	versionStat  = ".version_text"
	rejectedStat = ".update_rejected"
	failedStat   = ".update_failure"
)

// refusals are the counts of what Envoy did not take since it started; nil if it took all.
func refusals(stats map[string]string) map[string]string {
	var out map[string]string
	for name, value := range stats {
		if value == "0" || !strings.HasSuffix(name, rejectedStat) && !strings.HasSuffix(name, failedStat) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}

// refusedPart is the first part of the configuration that is not what it should be, because Envoy did not take it. Listeners, clusters and routes
// have one version; what the proxy ran with before does not count.
func refusedPart(stats map[string]string, want Outcome, before map[string]string) string {
	counts := refusals(stats)
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		part, ok := strings.CutSuffix(name, versionStat)
		version, credential := want.SecretVersions[name]
		if !credential {
			version = want.ConfigRevision
		}
		if !ok || stats[name] == version || !credential && strings.HasPrefix(name, "sds.") {
			continue
		}
		for _, count := range []string{part + rejectedStat, part + failedStat} {
			if n := counts[count]; n != "" && n != before[count] {
				return part
			}
		}
	}
	return ""
}

func statusPort(pod *corev1.Pod) int32 {
	if c := inject.ProxyOf(pod); c != nil && c.StartupProbe != nil && c.StartupProbe.HTTPGet != nil {
		return c.StartupProbe.HTTPGet.Port.IntVal
	}
	return v1alpha1.DefaultAdminPort
}

func (p *proxies) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the proxy: %w", plain(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("ask the proxy: %w", plain(err))
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the proxy: %s", response.Status)
	}
	return body, nil
}

// plain leaves out addresses: a status would be written anew for every port that was dialled from.
func plain(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return fmt.Errorf("%s: %w", network.Op, network.Err)
	}
	return err
}

func (p *proxies) stats(ctx context.Context, base string) (map[string]string, error) {
	body, err := p.get(ctx, base+xds.StatusRevision)
	if err != nil {
		return nil, err
	}
	return xds.ParseStats(body)
}

// reason is why Envoy refused a part. It keeps the reason for listeners only; of the rest it counts.
func (p *proxies) reason(ctx context.Context, base, part string) string {
	body, err := p.get(ctx, base+xds.StatusRejected)
	if err == nil {
		if reason := xds.ParseRejected(body); reason != "" {
			return shorten(reason)
		}
	}
	return "Envoy refused an update of " + part + ", and tells no reason for it"
}

func shorten(reason string) string {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return strings.ToValidUTF8(reason, "")
}

// leaf is want if the proxy shows a certificate with that serial number, else the first one that it shows.
func (p *proxies) leaf(ctx context.Context, base, want string) (string, error) {
	body, err := p.get(ctx, base+xds.StatusCerts)
	if err != nil {
		return "", err
	}
	return parseLeaf(body, want)
}

// parseLeaf reads Envoy's /certs.
func parseLeaf(body []byte, want string) (string, error) {
	var page struct {
		Certificates []struct {
			Chain []struct {
				Serial string `json:"serial_number"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", fmt.Errorf("read the proxy's certificates: %w", err)
	}
	first := ""
	for _, c := range page.Certificates {
		for _, certificate := range c.Chain {
			if strings.TrimLeft(certificate.Serial, "0") == strings.TrimLeft(want, "0") {
				return want, nil
			}
			if first == "" {
				first = certificate.Serial
			}
		}
	}
	return first, nil
}
