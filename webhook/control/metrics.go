package control

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/xds"
)

// meters are what Prometheus sees of the policies.
type meters struct {
	pods, conditions, expiry *prometheus.GaugeVec
}

func newMeters(registry prometheus.Registerer) (meters, error) {
	var errs []error
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "netproxy", Subsystem: "policy", Name: name, Help: help},
			append([]string{"kind", "namespace", "policy"}, labels...))
		var before prometheus.AlreadyRegisteredError
		if err := registry.Register(g); errors.As(err, &before) {
			return before.ExistingCollector.(*prometheus.GaugeVec)
		} else if err != nil {
			errs = append(errs, err)
		}
		return g
	}
	return meters{
		pods:       gauge("pods", "Pods of a policy: selected, injected, in_sync (they run the newest revision), unprotected (they run without the proxy).", "state"),
		conditions: gauge("condition", "1 if a condition of the policy's status is true, 0 if not.", "condition"),
		expiry:     gauge("certificate_expiry_timestamp_seconds", "When a certificate of the policy expires, in seconds since 1970.", "certificate"),
	}, errors.Join(errs...)
}

func defaultMeters() (meters, error) { return newMeters(crmetrics.Registry) }

func (m meters) set(ref xds.PolicyRef, status *v1alpha1.EgressPolicyStatus) {
	for state, n := range map[string]int32{
		"selected": status.Pods.Selected, "injected": status.Pods.Injected, "in_sync": status.Pods.InSync,
		"unprotected": status.Pods.Selected - status.Pods.Injected,
	} {
		m.pods.WithLabelValues(ref.Kind, ref.Namespace, ref.Name, state).Set(float64(n))
	}
	for _, c := range status.Conditions {
		value := 0.0
		if c.Status == metav1.ConditionTrue {
			value = 1
		}
		m.conditions.WithLabelValues(ref.Kind, ref.Namespace, ref.Name, c.Type).Set(value)
	}
	for name, at := range map[string]*metav1.Time{"leaf": status.LeafNotAfter, "ca": status.CANotAfter} {
		if at == nil {
			m.expiry.DeleteLabelValues(ref.Kind, ref.Namespace, ref.Name, name)
			continue
		}
		m.expiry.WithLabelValues(ref.Kind, ref.Namespace, ref.Name, name).Set(float64(at.Unix()))
	}
}

func (m meters) forget(ref xds.PolicyRef) {
	labels := prometheus.Labels{"kind": ref.Kind, "namespace": ref.Namespace, "policy": ref.Name}
	for _, g := range []*prometheus.GaugeVec{m.pods, m.conditions, m.expiry} {
		g.DeletePartialMatch(labels)
	}
}
