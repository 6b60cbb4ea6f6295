package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/plugin/lab/attack"
)

type demoOptions struct {
	policyOptions
	Envoy string
}

func newDemoCommand(s *shell) *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use: "demo -f FILENAME", Short: "Show in a minute what a policy does, in the local lab", Args: noArguments, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.policyOptions.validate(); err != nil {
				return err
			}
			var err error
			if o.Envoy, err = envoyPath(s, o.Envoy); err != nil {
				return err
			}
			return inLab(cmd.Context(), s, func(ctx context.Context) error { return o.run(ctx, s) })
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.Envoy, "envoy", "", "path of Envoy (default: $ENVOY, then envoy on the PATH)")
	return cmd
}

func (o *demoOptions) run(ctx context.Context, s *shell) error {
	c, err := o.load(s)
	if err != nil {
		return err
	}
	r, err := startLab(ctx, s, c, o.Envoy)
	if err != nil {
		return err
	}
	d := &demo{labRun: r, u: s.painter(), out: s.Out}
	return r.closeLab(d.show(ctx, o.Filenames))
}

// demo shows what was seen. Everything that it prints was sent and received a moment ago, and is checked: what is not as it
// should be ends it with ExitBad.
type demo struct {
	*labRun
	u   *ui.Renderer
	out io.Writer
	bad bool
}

func (d *demo) show(ctx context.Context, files []string) error {
	t := d.target
	if len(t.Intercepted) < 2 || len(t.Intercepted[0].Injected) == 0 || t.Intercepted[0].DeniedPath == "" || len(t.Passthrough) == 0 {
		return errors.New("this policy cannot be shown: it has to intercept two names, inject a header and deny a path for the first, and pass a name through")
	}
	d.line("%s (%s), enforced by a real Envoy in network namespaces of this machine.", d.u.Paint(ui.Strong, d.title()), strings.Join(files, ", "))
	d.line("The Internet is a stand-in: it answers for every name and writes down what it saw.")
	for _, step := range []func(context.Context) error{d.injection, d.misdirected, d.passthrough, d.denial, d.fronting} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if d.bad {
		d.line("\n%s", d.u.Mark(ui.Bad, "something is not as it should be, see above"))
		return exitCode(ExitBad)
	}
	d.line("\nYour own policy: kubectl netproxy test-fronting -f policy.yaml --local")
	return nil
}

func (d *demo) line(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demo) heading(text string) { d.line("\n%s", d.u.Paint(ui.Strong, text)) }

// check marks a statement by what was seen.
func (d *demo) check(ok bool, format string, args ...any) { //nolint:revive // an assertion
	tone, word := ui.Good, "seen"
	if !ok {
		tone, word, d.bad = ui.Bad, "NOT SEEN", true
	}
	d.line("  %s  %s", d.u.Mark(tone, word), fmt.Sprintf(format, args...))
}

func (d *demo) injection(ctx context.Context) error {
	ep := d.target.Intercepted[0]
	d.heading("1. A credential that the workload never had")
	d.line("  client      %s https://%s%s, without any credential", ep.Method, ep.Name, ep.Path)
	res := d.pod.Do(ctx, requestTo(ep))
	if res.Upstream == nil {
		d.check(false, "the request arrives (%s)", res)
		return nil
	}
	d.line("  upstream    %s %s, Host %s, at %s", res.Upstream.Method, res.Upstream.Path, res.Upstream.Host, res.Upstream.To)
	for _, h := range ep.Injected {
		got := res.Upstream.Header.Values(h.Name)
		d.check(slices.Equal(got, []string{h.Value}), "upstream got %s: %s", h.Name, d.disguise(h))
	}
	return nil
}

// disguise shows what the policy says itself, but no credential.
func (d *demo) disguise(h attack.Header) string {
	for _, credential := range d.plan.Credentials() {
		if strings.EqualFold(credential.Header, h.Name) {
			hidden := len(h.Value) - len(credential.Prefix)
			return fmt.Sprintf("%s%s (%d bytes, equal to key %s of Secret %s)", credential.Prefix, strings.Repeat("*", min(hidden, 8)), hidden, credential.Key, credential.Secret)
		}
	}
	return h.Value
}

func requestTo(ep attack.Endpoint) lab.Request {
	return lab.Request{Name: ep.Name, TLS: true, Method: ep.Method, Path: ep.Path}
}

func (d *demo) misdirected(ctx context.Context) error {
	first, second := d.target.Intercepted[0], d.target.Intercepted[1]
	d.heading("2. Domain fronting: the handshake asks for one name, the request for another")
	for _, attempt := range []struct {
		host, proto string
		status      int
	}{
		{"attacker.example", "HTTP/1.1", 404},
		{second.Name, "HTTP/2", 421},
	} {
		req := requestTo(first)
		req.Host, req.HTTP2 = attempt.host, attempt.proto == "HTTP/2"
		d.line("  client      SNI %s, Host %s, %s", first.Name, attempt.host, attempt.proto)
		res := d.pod.Do(ctx, req)
		d.check(res.Status == attempt.status && res.Upstream == nil, "%d, and no upstream saw anything", attempt.status)
	}
	d.line("  (421 tells a client that shares HTTP/2 connections between names to open another one, which works.)")
	return nil
}

func (d *demo) passthrough(ctx context.Context) error {
	d.heading("3. Intercepted and passed through: whose certificate the client sees")
	ep := d.target.Intercepted[0]
	res := d.pod.Do(ctx, requestTo(ep))
	d.check(res.Peer != nil && !res.Peer.FromLabCA(), "%s: %s (intercepted: the policy's own CA)", ep.Name, issuer(res))
	ep = d.target.Passthrough[0]
	res = d.pod.Do(ctx, requestTo(ep))
	d.check(res.Peer != nil && res.Peer.FromLabCA() && res.Success(), "%s: %s (passed through: the server's real certificate)", ep.Name, issuer(res))
	return nil
}

func issuer(res lab.Result) string {
	if res.Peer == nil {
		return "no certificate"
	}
	return fmt.Sprintf("issued by %q", res.Peer.Issuer)
}

func (d *demo) denial(ctx context.Context) error {
	ep := d.target.Intercepted[0]
	d.heading("4. A denial that can be read")
	req := requestTo(ep)
	req.Path = ep.DeniedPath
	d.line("  client      %s https://%s%s", req.Method, ep.Name, req.Path)
	res := d.pod.Do(ctx, req)
	d.check(res.Status == 403 && res.Upstream == nil && json.Valid(res.Body), "403, with this body:")
	var body bytes.Buffer
	if err := json.Indent(&body, bytes.TrimSpace(res.Body), "              ", "  "); err != nil {
		body.Reset()
		body.Write(res.Body)
	}
	d.line("              %s", body.String())
	return nil
}

// fronting runs all attacks and shows the rows about fronting and those that are open; the others are counted.
func (d *demo) fronting(ctx context.Context) error {
	d.heading(fmt.Sprintf("5. %d attacks (about half a minute)", len(attack.Scenarios())))
	rows, err := attack.Run(ctx, attack.Options{Lab: d.lab, Pod: d.pod, Target: d.target})
	if err != nil {
		return err
	}
	report := newFrontingReport(d.ref().String(), "in the local lab", d.differences, rows)
	shown := report
	shown.Rows = slices.DeleteFunc(slices.Clone(rows), func(r attack.Outcome) bool {
		return r.Category != "domain fronting" && r.Result != attack.Open && !r.Bad()
	})
	d.line("%s", shown.table(d.u))
	d.line("%s", categories(d.u, rows))
	for _, row := range rows {
		if row.Result == attack.Open {
			d.line("%s  %s: %s", mark(d.u, row.Result), row.Title, row.Advice)
		}
	}
	d.line("\n%s", report.summary(d.u))
	d.bad = d.bad || slices.ContainsFunc(rows, attack.Outcome.Bad)
	return nil
}

// categories is a table of counts.
func categories(u *ui.Renderer, rows []attack.Outcome) string {
	var order []string
	counts := map[string]map[attack.Result]int{}
	for _, r := range rows {
		if counts[r.Category] == nil {
			counts[r.Category] = map[attack.Result]int{}
			order = append(order, r.Category)
		}
		counts[r.Category][r.Result]++
	}
	var out [][]string
	for _, c := range order {
		n := counts[c]
		out = append(out, []string{c, fmt.Sprint(n[attack.Pass]), fmt.Sprint(n[attack.Leak] + n[attack.Fail]), fmt.Sprint(n[attack.Open]), fmt.Sprint(n[attack.Skipped])})
	}
	return u.Table([]string{"ALL ATTACKS", "PASSED", "LEAKED OR FAILED", "OPEN", "SKIPPED"}, out)
}
