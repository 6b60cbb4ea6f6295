package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

const zone = ".svc.cluster.local"

// clusterNames answers for the names of Services, and of pods with a host name in headless Services.
type clusterNames struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

func newClusterNames(ctx context.Context, kubeconfig string) (clusterNames, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return clusterNames{}, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return clusterNames{}, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	names := clusterNames{factory.Core().V1().Services().Lister(), factory.Discovery().V1().EndpointSlices().Lister()}
	factory.Start(ctx.Done())
	for _, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return clusterNames{}, errors.New("the API server did not answer")
		}
	}
	return names, nil
}

// lookup knows [HOST.]SERVICE.NAMESPACE.svc.cluster.local.
func (n clusterNames) lookup(name string) ([]netip.Addr, bool) {
	rest, ok := strings.CutSuffix(name, zone)
	if !ok {
		return nil, false
	}
	labels := strings.Split(rest, ".")
	if len(labels) < 2 || len(labels) > 3 {
		return nil, false
	}
	namespace, service := labels[len(labels)-1], labels[len(labels)-2]
	s, err := n.services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		return n.endpoints(s, labels[:len(labels)-2])
	}
	return addresses(s.Spec.ClusterIPs), len(labels) == 2
}

// endpoints are the ready pods of a headless Service, or the one with a host name.
func (n clusterNames) endpoints(s *corev1.Service, host []string) ([]netip.Addr, bool) {
	list, err := n.slices.EndpointSlices(s.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: s.Name}))
	if err != nil {
		return nil, false
	}
	var out []netip.Addr
	for _, slice := range list {
		for _, e := range slice.Endpoints {
			if len(host) == 1 && (e.Hostname == nil || *e.Hostname != host[0]) {
				continue
			}
			if s.Spec.PublishNotReadyAddresses || e.Conditions.Ready == nil || *e.Conditions.Ready {
				out = append(out, addresses(e.Addresses)...)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, len(host) == 0 || len(out) > 0
}

func addresses(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}
