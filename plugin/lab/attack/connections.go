package attack

import (
	"context"
	"net/http"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catConnection = "connection reuse"

// delivery is how two requests follow each other.
type delivery string

const (
	oneByOne  delivery = "one by one"
	pipelined delivery = "pipelined"
)

// connections hides a foreign request behind an allowed one.
func connections() []Scenario {
	return []Scenario{
		{"reuse-second", "second request on the connection has another Host", catConnection, func(e *env) error { return e.second(stranger, oneByOne) }},
		{"reuse-second-denied", "second request on the connection is for a denied name", catConnection, secondDenied},
		{"reuse-pipeline", "two requests in one segment, the second has another Host", catConnection, func(e *env) error { return e.second(stranger, pipelined) }},
		{"reuse-second-plaintext", "second plaintext request has another Host", catConnection, secondPlaintext},
		{"reuse-h2-stream", "second HTTP/2 stream has another :authority", catConnection, secondStream},
		{"reuse-after-refusal", "an allowed request after a refused one carries its own credential only", catConnection, afterRefusal},
	}
}

// session opens a connection to the first intercepted name.
func (e *env) session(ep Endpoint, opts *lab.TLSOptions) (*lab.Session, context.CancelFunc, error) {
	dst, err := e.at(ep, lab.IPv4)
	if err != nil {
		return nil, nil, err
	}
	if opts != nil {
		e.out.SNI = display(opts.SNI)
	}
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	s, _, err := e.pod.Open(ctx, dst, opts)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return s, func() { _ = s.Close(); cancel() }, nil
}

// second sends an honest request without token, then the attack.
func (e *env) second(host string, how delivery) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	return e.secondAt(ep, hello1(ep.Name), host, how)
}

func (e *env) secondAt(ep Endpoint, opts *lab.TLSOptions, host string, how delivery) error {
	s, done, err := e.session(ep, opts)
	if err != nil {
		return err
	}
	defer done()
	honest := lab.HTTP1Request(ep.Method, ep.Path, "HTTP/1.1", nil, lab.Field{Name: "Host", Value: ep.Name}, lab.Field{Name: "Content-Length", Value: "0"})
	attack := e.h1(ep, host)
	client := s.HTTP1()
	if how == pipelined {
		honest, attack = append(honest, attack...), nil
	}
	if first := client.Send(ep.Method, honest); !first.Success() {
		return e.judge(first, "200 for the first request", false)
	}
	var res lab.Result
	if how == pipelined {
		res = client.Receive(ep.Method)
	} else {
		res = client.Send(ep.Method, attack)
	}
	return e.refused(res)
}

func secondDenied(e *env) error {
	name, err := e.denied()
	if err != nil {
		return err
	}
	return e.second(name, oneByOne)
}

func secondPlaintext(e *env) error {
	if e.target.DefaultAllow {
		return errSkip("everything that is not denied may go anywhere in plaintext")
	}
	ep, err := e.plaintext()
	if err != nil {
		return err
	}
	return e.secondAt(ep, nil, stranger, oneByOne)
}

func secondStream(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	s, done, err := e.session(ep, hello2(ep.Name))
	if err != nil {
		return err
	}
	defer done()
	client, err := s.HTTP2()
	if err != nil {
		return err
	}
	if first := client.Send(nil, lab.HTTP2Fields(ep.Method, "https", ep.Name, ep.Path)...); !first.Success() {
		return e.judge(first, "200 for the first stream", false)
	}
	return e.refused(client.Send(nil, e.h2(ep, stranger)...), http.StatusNotFound)
}

// afterRefusal: a refused request must not leave anything for the next one.
func afterRefusal(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	s, done, err := e.session(ep, hello2(ep.Name))
	if err != nil {
		return err
	}
	defer done()
	client, err := s.HTTP2()
	if err != nil {
		return err
	}
	client.Send(nil, lab.HTTP2Fields(ep.Method, "https", stranger, ep.Path)...)
	return e.arrives(client.Send(nil, e.h2(ep, ep.Name)...), ep)
}
