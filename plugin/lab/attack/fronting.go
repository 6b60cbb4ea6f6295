package attack

import (
	"net/http"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catFronting = "domain fronting"

// stranger is the attacker's name; it leads to the attacker's addresses.
const stranger = "attacker.lab.invalid"

// fronting sends one name in the handshake and another one in the request.
func fronting() []Scenario {
	return []Scenario{
		{"front-other-h1", "Host is another intercepted name, HTTP/1.1", catFronting, func(e *env) error { return e.frontOther(http1) }},
		{"front-other-h2", "coalescing: :authority is another intercepted name", catFronting, func(e *env) error { return e.frontOther(http2) }},
		{"front-other-back-h1", "the same with the names exchanged, HTTP/1.1", catFronting, func(e *env) error { return e.frontOtherBack(http1) }},
		{"front-other-back-h2", "the same with the names exchanged, HTTP/2", catFronting, func(e *env) error { return e.frontOtherBack(http2) }},
		{"front-denied-h1", "Host is a denied name, HTTP/1.1", catFronting, func(e *env) error { return e.frontDenied(http1) }},
		{"front-denied-h2", ":authority is a denied name, HTTP/2", catFronting, func(e *env) error { return e.frontDenied(http2) }},
		{"front-stranger-h1", "Host is the attacker's name, HTTP/1.1", catFronting, func(e *env) error { return e.front(stranger, http1) }},
		{"front-stranger-h2", ":authority is the attacker's name, HTTP/2", catFronting, func(e *env) error { return e.front(stranger, http2) }},
		{"front-address-h1", "Host is the attacker's address", catFronting, func(e *env) error { return e.front(lab.Attacker4.String(), http1) }},
		{"front-address6-h2", ":authority is the attacker's IPv6 address", catFronting, func(e *env) error { return e.front("["+lab.Attacker6.String()+"]", http2) }},
		{"front-passthrough-h1", "Host is a passed-through name", catFronting, func(e *env) error { return e.frontPassthrough(http1) }},
		{"front-passthrough-h2", ":authority is a passed-through name", catFronting, func(e *env) error { return e.frontPassthrough(http2) }},
		{"front-wildcard-h1", "SNI and Host differ inside one wildcard, HTTP/1.1", catFronting, func(e *env) error { return e.frontWildcard(http1) }},
		{"front-wildcard-h2", "SNI and :authority differ inside one wildcard, HTTP/2", catFronting, func(e *env) error { return e.frontWildcard(http2) }},
		{"front-denied-sni", "SNI is a denied name, Host an intercepted one", catFronting, deniedSNI},
		{"front-intercepted-address", "SNI absent, Host another name, at an intercepted address", catFronting, frontAddress},
	}
}

// front is the permitted request of the first intercepted name, for host.
func (e *env) front(host string, v version, statuses ...int) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	return e.frontAt(ep, host, v, statuses...)
}

func (e *env) frontAt(ep Endpoint, host string, v version, statuses ...int) error {
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	if len(statuses) == 0 {
		statuses = []int{http.StatusNotFound}
	}
	return e.refused(e.send(e.over(v, dst, ep, host)), statuses...)
}

// frontOther: over HTTP/2 the answer is 421, so that a client that shares
// connections between names opens another one (RFC 9110, section 15.5.20).
func (e *env) frontOther(v version) error {
	other, err := e.intercepted(1)
	if err != nil {
		return err
	}
	if v == http2 {
		return e.front(other.Name, http2, http.StatusMisdirectedRequest)
	}
	return e.front(other.Name, http1, http.StatusNotFound, http.StatusMisdirectedRequest)
}

// frontOtherBack makes the request that the first name permits over a connection for the second.
func (e *env) frontOtherBack(v version) error {
	first, err := e.intercepted(0)
	if err != nil {
		return err
	}
	other, err := e.intercepted(1)
	if err != nil {
		return err
	}
	at := first
	at.Name = other.Name
	if v == http2 {
		return e.frontAt(at, first.Name, http2, http.StatusMisdirectedRequest)
	}
	return e.frontAt(at, first.Name, http1, http.StatusNotFound, http.StatusMisdirectedRequest)
}

func (e *env) frontDenied(v version) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	return e.front(name, v)
}

func (e *env) frontPassthrough(v version) error {
	ep, err := e.passthrough()
	if err != nil {
		return err
	}
	return e.front(ep.Name, v)
}

func (e *env) frontWildcard(v version) error {
	if len(e.target.Wildcards) == 0 {
		return errSkip("the policy intercepts no wildcard with two names")
	}
	pair := e.target.Wildcards[0]
	if v == http2 {
		return e.frontAt(pair[0], pair[1].Name, http2, http.StatusMisdirectedRequest)
	}
	return e.frontAt(pair[0], pair[1].Name, http1, http.StatusNotFound, http.StatusMisdirectedRequest)
}

func deniedSNI(e *env) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	return e.closed(e.send(probe{dst: dst, tls: hello1(name), method: ep.Method, raw: e.h1(ep, ep.Name)}))
}

func frontAddress(e *env) error {
	if len(e.target.Addresses) == 0 {
		return errSkip("the policy intercepts no address")
	}
	ep := e.target.Addresses[0]
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return err
	}
	res := e.send(probe{dst: dst, tls: hello1(""), method: ep.Method, raw: e.h1(ep, stranger)})
	return e.refused(res, http.StatusNotFound)
}
