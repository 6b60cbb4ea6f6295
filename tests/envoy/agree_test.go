package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/xds"
)

// class is the kind of a verdict, for counting how often each is compared.
type class string

const (
	classAllowed     class = "allowed"
	classInjected    class = "injected"
	classPassed      class = "passed through"
	classRaw         class = "address allowed"
	classRule        class = "denied by rule"
	classDefault     class = "denied by default"
	classClosed      class = "closed"
	classMisdirected class = "misdirected"
	classOther       class = "refused otherwise"
)

func classes() []class {
	return []class{classAllowed, classInjected, classPassed, classRaw, classRule, classDefault, classClosed, classMisdirected, classOther}
}

func classOf(v xds.Verdict) class {
	switch {
	case v.Misdirected:
		return classMisdirected
	case v.Verdict == xds.Allow && len(v.Injected) > 0:
		return classInjected
	case v.Verdict == xds.Allow && strings.HasPrefix(v.Chain, "tls/"):
		return classPassed
	case v.Verdict == xds.Allow && strings.HasPrefix(v.Chain, "tcp/"):
		return classRaw
	case v.Verdict == xds.Allow:
		return classAllowed
	case v.Status == 0:
		return classClosed
	case v.Status == 403 && v.Rule == "default":
		return classDefault
	case v.Status == 403:
		return classRule
	default:
		return classOther
	}
}

// disagreement compares a verdict with what happened; the error says where they differ.
func disagreement(l *lab.Lab, plan *xds.Plan, req lab.Request, v xds.Verdict, res lab.Result) error {
	if v.Verdict == xds.Deny {
		if req.Raw && v.Status == 400 {
			res.Status = 400 // the client does not read an answer in HTTP
		}
		return denied(v, res)
	}
	if v.Intercepted && !upstreamIsGenuine(l, req, v) {
		// The upstream's certificate is of somebody else: nothing must arrive.
		return denied(xds.Verdict{Status: 503}, res)
	}
	return allowed(l, plan, req, v, res)
}

// upstreamIsGenuine: the address that is connected to has a certificate for the Host.
func upstreamIsGenuine(l *lab.Lab, req lab.Request, v xds.Verdict) bool {
	if v.Upstream != string(v1alpha1.ResolutionClient) {
		return true
	}
	host, _, err := v1alpha1.ParseAuthority(req.Host)
	return err == nil && l.World.Owns(host, req.Dst.Addr())
}

func denied(v xds.Verdict, res lab.Result) error {
	if res.Upstream != nil {
		return fmt.Errorf("arrived at %s", res.Upstream.To)
	}
	if v.Status == 0 {
		if !res.ClosedWithoutByte() {
			return fmt.Errorf("client got %s, not a closed connection (%w)", res, res.Err)
		}
		return nil
	}
	if res.Status != v.Status {
		return errors.Join(fmt.Errorf("client got %s, not %d; body %s", res, v.Status, res.Body), res.Err)
	}
	if v.Status != 403 {
		return nil
	}
	var body struct{ Rule string }
	if err := json.Unmarshal(res.Body, &body); err != nil {
		return fmt.Errorf("body %q: %w", res.Body, err)
	}
	if body.Rule != v.Rule {
		return fmt.Errorf("denied by %q, not by %q", body.Rule, v.Rule)
	}
	return nil
}

func allowed(l *lab.Lab, plan *xds.Plan, req lab.Request, v xds.Verdict, res lab.Result) error {
	if res.Upstream == nil {
		return errors.Join(fmt.Errorf("nothing arrived; client got %s, body %s", res, res.Body), res.Err)
	}
	up := res.Upstream
	if up.To.Port() != req.Dst.Port() {
		return fmt.Errorf("arrived at %s, not at port %d", up.To, req.Dst.Port())
	}
	if err := rightAddress(l, plan, req, v, up); err != nil {
		return err
	}
	if req.Raw {
		return nil
	}
	if !res.Success() {
		return fmt.Errorf("client got %s although it arrived", res)
	}
	if req.TLS && res.Peer != nil && res.Peer.FromLabCA() == v.Intercepted {
		return fmt.Errorf("intercepted is %v, but the client saw the issuer %q", v.Intercepted, res.Peer.Issuer)
	}
	return injected(plan, v, up)
}

func rightAddress(l *lab.Lab, plan *xds.Plan, req lab.Request, v xds.Verdict, up *lab.Entry) error {
	if v.Upstream == string(v1alpha1.ResolutionClient) {
		if up.To != req.Dst {
			return fmt.Errorf("arrived at %s, not at the client's %s", up.To, req.Dst)
		}
		return nil
	}
	claimed := req.Host
	if req.Raw || req.TLS && !v.Intercepted {
		claimed = req.SNI
	}
	host, _, err := v1alpha1.ParseAuthority(claimed)
	if err != nil {
		return errors.New("a name that is none was resolved")
	}
	if addrs, _ := l.World.Lookup(host); !slices.Contains(addrs, up.To.Addr()) {
		return fmt.Errorf("arrived at %s, which is not an address of %s", up.To, host)
	}
	view := seen(l, req)
	view.Resolved = []netip.Addr{up.To.Addr()}
	if alone := plan.Evaluate(view); alone.Verdict != xds.Allow {
		return fmt.Errorf("arrived at %s of all addresses: %s", up.To, alone.Reason)
	}
	return nil
}

// injected compares every header that the policy could set.
func injected(plan *xds.Plan, v xds.Verdict, up *lab.Entry) error {
	for _, name := range []string{"Authorization", "X-Agent"} {
		got := up.Header.Values(name)
		want := slices.Contains(v.Injected, name)
		if want != (len(got) == 1 && got[0] != clientHeader) || !want && !slices.Equal(got, []string{clientHeader}) {
			return fmt.Errorf("upstream got %s: %q, injected should be %v", name, got, want)
		}
		if want && !isValueOf(plan, name, got[0]) {
			return fmt.Errorf("upstream got %s: %q, which no rule of the policy has", name, got[0])
		}
	}
	return nil
}

func isValueOf(plan *xds.Plan, name, value string) bool {
	for _, d := range plan.Domains {
		for _, h := range d.Headers {
			want := h.Value
			if h.Credential != nil {
				want = h.Credential.Prefix + credentialValue(*h.Credential)
			}
			if h.Name == name && want == value {
				return true
			}
		}
	}
	return false
}
