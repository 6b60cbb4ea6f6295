// Package learn makes the smallest deny-by-default policy that allows what audit records have seen. It is pure.
package learn

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
)

// endpoint is something that was reached.
type endpoint struct {
	kind kind
	name string // a host name, or an address
	port uint16
}

type kind int

const (
	web kind = iota // requests that were seen
	tls             // TLS that passed through
	raw             // neither
)

// seen is what happened at an endpoint.
type seen struct {
	endpoint
	count       int
	first, last time.Time
	pods        map[string]bool
	// paths have the methods that they were asked with.
	paths   map[string]map[string]bool
	records []audit.Record
	// reach is shared by all endpoints of a name: where two rules have the name, the proxy takes the way of either.
	*reach
	// hopeless: no record of it can be allowed.
	hopeless bool
}

// reach is how far the rules of a name have to be opened. settled: a wider way has been tried and did not help.
type reach struct {
	way     way
	settled bool
}

// way goes from the narrowest to the widest.
type way int

const (
	public way = iota
	private
	address
	stuck // no rule allows it
)

// observe groups records by endpoint. What names nothing that a rule could have is left.
func observe(records []audit.Record) (all []*seen, left []audit.Record) {
	byEndpoint, byName := map[endpoint]*seen{}, map[string]*reach{}
	for _, r := range records {
		e, ok := endpointOf(&r)
		if !ok {
			left = append(left, r)
			continue
		}
		s := byEndpoint[e]
		if s == nil {
			if byName[e.name] == nil {
				byName[e.name] = &reach{}
			}
			s = &seen{endpoint: e, reach: byName[e.name], pods: map[string]bool{}, paths: map[string]map[string]bool{}, first: r.Time}
			byEndpoint[e] = s
			all = append(all, s)
		}
		s.add(r)
	}
	slices.SortFunc(all, func(a, b *seen) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return all, left
}

func (s *seen) sortKey() string {
	return strconv.Itoa(int(s.kind)) + " " + s.name + " " + strconv.Itoa(int(s.port))
}

func (s *seen) add(r audit.Record) {
	s.count++
	if r.Time.Before(s.first) {
		s.first = r.Time
	}
	if r.Time.After(s.last) {
		s.last = r.Time
	}
	s.pods[r.Namespace+"/"+r.Pod] = true
	s.records = append(s.records, r)
	if s.kind != web {
		return
	}
	if s.paths[r.Path] == nil {
		s.paths[r.Path] = map[string]bool{}
	}
	s.paths[r.Path][r.Method] = true
}

func endpointOf(r *audit.Record) (endpoint, bool) {
	dst, err := netip.ParseAddrPort(r.Destination)
	if err != nil {
		return endpoint{}, false
	}
	switch {
	case r.HTTP():
		host, _, err := v1alpha1.ParseAuthority(r.Host)
		if err != nil {
			return endpoint{}, false
		}
		return named(web, host, dst.Port())
	case r.SNI != "":
		return named(tls, r.SNI, dst.Port())
	}
	return endpoint{raw, dst.Addr().Unmap().String(), dst.Port()}, true
}

func named(k kind, name string, port uint16) (endpoint, bool) {
	host, err := v1alpha1.ParseHost(name)
	switch {
	case err != nil || host.Kind != v1alpha1.HostExact && host.Kind != v1alpha1.HostIP:
		return endpoint{}, false
	case host.Kind == v1alpha1.HostIP:
		return endpoint{k, host.Addr.String(), port}, true
	}
	return endpoint{k, host.Name, port}, true
}
