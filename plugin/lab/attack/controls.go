package attack

import (
	"fmt"
	"net/http"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catControl = "control"

// controls prove that what is allowed works: a table of refusals says nothing
// about a proxy that refuses everything.
func controls() []Scenario {
	return []Scenario{
		{"control-http1", "allowed request, HTTP/1.1", catControl, func(e *env) error { return e.control(0, http1, lab.IPv4) }},
		{"control-http2", "allowed request, HTTP/2", catControl, func(e *env) error { return e.control(0, http2, lab.IPv4) }},
		{"control-ipv6", "allowed request over IPv6", catControl, func(e *env) error { return e.control(0, http1, lab.IPv6) }},
		{"control-second", "allowed request, second intercepted name", catControl, func(e *env) error { return e.control(1, http1, lab.IPv4) }},
		{"control-overwrite", "the client sends the injected header itself", catControl, overwrite},
		{"control-passthrough", "passed through: the real certificate", catControl, controlPassthrough},
		{"control-plaintext", "allowed plaintext HTTP", catControl, controlPlaintext},
		{"control-address", "allowed request to an intercepted address", catControl, controlAddress},
		{"control-cidr", "raw TCP to an allowed cidr", catControl, controlCIDR},
		{"control-denied-path", "denied path", catControl, deniedPath},
		{"control-denied-name", "denied name, TLS", catControl, deniedName},
		{"control-denied-plaintext", "denied name, plaintext HTTP", catControl, deniedPlaintext},
	}
}

func (e *env) control(n int, v version, family lab.Family) error {
	ep, err := e.intercepted(n)
	if err != nil {
		return err
	}
	dst, err := e.at(ep, family)
	if err != nil {
		return err
	}
	res := e.send(e.over(v, dst, ep, ep.Name))
	if err := e.arrives(res, ep); err != nil {
		return err
	}
	if e.out.Result == Pass && res.Peer.FromLabCA() {
		e.out.Result, e.out.Detail = Fail, "the name is not intercepted: the upstream's own certificate was shown"
	}
	return nil
}

func overwrite(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	if len(ep.Injected) == 0 {
		return errSkip("the policy injects nothing for the first intercepted name")
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	var own []lab.Field
	for _, h := range ep.Injected {
		own = append(own, lab.Field{Name: h.Name, Value: "client-1"}, lab.Field{Name: h.Name, Value: "client-2"})
	}
	// Naming a header as hop-by-hop must not remove what is injected.
	own = append(own, lab.Field{Name: "Connection", Value: ep.Injected[0].Name})
	return e.arrives(e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, ep.Name, own...)}), ep)
}

func controlPassthrough(e *env) error {
	ep, err := e.passthrough()
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, ep.Name)})
	if err := e.arrives(res, ep); err != nil {
		return err
	}
	if e.out.Result == Pass && !res.Peer.FromLabCA() {
		e.out.Result, e.out.Detail = Fail, "the connection was intercepted"
	}
	return nil
}

func controlPlaintext(e *env) error {
	ep, err := e.plaintext()
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	return e.arrives(e.send(probe{dst: dst, method: ep.Method, raw: e.h1(ep, ep.Name)}), ep)
}

func controlAddress(e *env) error {
	if len(e.target.Addresses) == 0 {
		return errSkip("the policy intercepts no address")
	}
	ep := e.target.Addresses[0]
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	return e.arrives(e.send(probe{dst: dst, tls: hello1(""), method: ep.Method, raw: e.h1(ep, authority(ep))}), ep)
}

func controlCIDR(e *env) error {
	if len(e.target.CIDR) == 0 {
		return errSkip("the policy allows no cidr")
	}
	dst := e.target.CIDR[0]
	res := e.raw(dst, 0, []byte("~"+e.token+"\n"))
	return e.judge(res, "echo from "+dst.String(), res.Outcome == lab.Answered, dst.Addr().String())
}

func deniedPath(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	if ep.DeniedPath == "" {
		return errSkip("the policy permits every path of the first intercepted name")
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	ep.Path = ep.DeniedPath
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: e.h1(ep, ep.Name)})
	return e.refused(res, http.StatusForbidden)
}

func deniedName(e *env) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	dst, err := e.at(Endpoint{Name: name, Port: 443}, lab.IPv4)
	if err != nil {
		return err
	}
	return e.closed(e.send(probe{dst: dst, tls: hello1(name), method: "GET", raw: e.h1(anyRequest(), name)}))
}

func deniedPlaintext(e *env) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	dst, err := e.at(Endpoint{Name: name, Port: 80}, lab.IPv4)
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, method: "GET", raw: e.h1(anyRequest(), name)})
	ok := res.Status == http.StatusForbidden || res.ClosedWithoutByte()
	return e.judge(res, fmt.Sprintf("%d or closed", http.StatusForbidden), ok)
}

func anyRequest() Endpoint { return Endpoint{Method: http.MethodGet, Path: "/"} }
