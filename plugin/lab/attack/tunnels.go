package attack

import (
	"fmt"
	"strings"

	"github.com/netproxy/netproxy/plugin/lab"
)

const catTunnel = "tunnels"

// tunnels ask the proxy for a connection that it cannot look into.
func tunnels() []Scenario {
	return []Scenario{
		{"connect-other", "CONNECT to the attacker", catTunnel, func(e *env) error { return e.connect(stranger + ":443") }},
		{"connect-address", "CONNECT to the attacker's address", catTunnel, func(e *env) error { return e.connect(lab.Attacker4.String() + ":443") }},
		{"connect-same", "CONNECT to the allowed name", catTunnel, connectSame},
		{"connect-h2", "CONNECT over HTTP/2 to the attacker", catTunnel, connectHTTP2},
		{"connect-extended", "extended CONNECT (websocket) to the attacker", catTunnel, func(e *env) error { return e.extended("websocket") }},
		{"connect-udp", "extended CONNECT (connect-udp) to the attacker", catTunnel, func(e *env) error { return e.extended("connect-udp") }},
		{"connect-plaintext", "CONNECT to a plaintext port", catTunnel, connectPlaintext},
		{"websocket", "WebSocket to the allowed name", catTunnel, websocket},
		{"websocket-other", "WebSocket with the attacker's Host", catTunnel, websocketOther},
		{"upgrade-h2c", "upgrade to h2c inside TLS", catTunnel, upgradeH2C},
	}
}

func (e *env) connect(target string) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	e.out.Host = display(target)
	raw := lab.HTTP1Request("CONNECT", target, "HTTP/1.1", nil, lab.Field{Name: "Host", Value: target}, lab.Field{Name: lab.TokenHeader, Value: e.token})
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: "CONNECT", raw: raw}))
}

// connectSame: a tunnel to the allowed name is invisible as well.
func connectSame(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	return e.connect(fmt.Sprintf("%s:%d", ep.Name, ep.Port))
}

func connectHTTP2(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	e.out.Host = stranger
	fields := []lab.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: stranger + ":443"}, {Name: "x-lab-token", Value: e.token}}
	return e.refused(e.send(probe{dst: dst, tls: hello2(ep.Name), h2: fields}))
}

// extended is RFC 8441 for WebSocket and RFC 9298 for connect-udp.
func (e *env) extended(protocol string) error {
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
	e.out.Host = stranger
	_, res := client.Connect(
		lab.Field{Name: ":method", Value: "CONNECT"}, lab.Field{Name: ":protocol", Value: protocol}, lab.Field{Name: ":scheme", Value: "https"},
		lab.Field{Name: ":authority", Value: stranger}, lab.Field{Name: ":path", Value: ep.Path}, lab.Field{Name: "x-lab-token", Value: e.token})
	return e.refused(res)
}

func connectPlaintext(e *env) error {
	dst, err := e.attacker(80, lab.IPv4)
	if err != nil {
		return err
	}
	if e.target.DefaultAllow {
		return errSkip("the policy allows every name by default")
	}
	target := lab.Attacker4.String() + ":443"
	e.out.Host = target
	raw := lab.HTTP1Request("CONNECT", target, "HTTP/1.1", nil, lab.Field{Name: "Host", Value: target}, lab.Field{Name: lab.TokenHeader, Value: e.token})
	return e.refused(e.send(probe{dst: dst, method: "CONNECT", raw: raw}))
}

// websocket has to work where GET is permitted: an echo comes back.
func websocket(e *env) error {
	ep, err := e.intercepted(0)
	if err != nil {
		return err
	}
	if ep.Method != "GET" {
		return errSkip("the policy does not permit GET, which a WebSocket begins with")
	}
	s, done, err := e.session(ep, hello1(ep.Name))
	if err != nil {
		return err
	}
	defer done()
	client := s.HTTP1()
	e.out.Host = display(ep.Name)
	fields := append(lab.WebSocketFields(ep.Name), lab.Field{Name: lab.ActionHeader, Value: "ws"})
	res := client.Send("GET", e.request(ep, ep.Path, "HTTP/1.1", fields...))
	if err := e.arrives(res, ep); err != nil || e.out.Result != Pass {
		return err
	}
	if _, err := client.Write(lab.WebSocketFrame("ping " + e.token)); err != nil {
		return fmt.Errorf("write to the WebSocket: %w", err)
	}
	buf := make([]byte, 256)
	n, err := client.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), e.token) {
		e.out.Result, e.out.Detail = Fail, fmt.Sprintf("the WebSocket does not echo: %q, %v", buf[:n], err)
	}
	return nil
}

func websocketOther(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	e.out.Host = stranger
	ep.Method = "GET"
	raw := e.request(ep, ep.Path, "HTTP/1.1", lab.WebSocketFields(stranger)...)
	return e.refused(e.send(probe{dst: dst, tls: hello1(ep.Name), method: "GET", raw: raw}))
}

// upgradeH2C: after a 101 the proxy would be blind (RFC 9113 removed h2c).
func upgradeH2C(e *env) error {
	ep, dst, err := e.firstAt()
	if err != nil {
		return err
	}
	raw := e.h1(ep, ep.Name, lab.Field{Name: "Connection", Value: "Upgrade, HTTP2-Settings"}, lab.Field{Name: "Upgrade", Value: "h2c"},
		lab.Field{Name: "HTTP2-Settings", Value: "AAMAAABkAAQAAP__"})
	res := e.send(probe{dst: dst, tls: hello1(ep.Name), method: ep.Method, raw: raw})
	return e.judge(res, "no 101", res.Status != 101 && res.Outcome != lab.Timeout, ep.Name)
}
