package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/plugin/internal/audit"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

type logsOptions struct {
	From    []string
	Follow  bool
	Denied  bool
	Allowed bool
	Hosts   []string
	Since   time.Duration
	Output  jsonFormat
}

// jsonFormat is -o of verbs that print a line at a time.
type jsonFormat string

// String, Set and Type make it a flag.
func (f *jsonFormat) String() string { return string(*f) }

// Set takes json.
func (f *jsonFormat) Set(text string) error {
	if text != "json" {
		return fmt.Errorf("%q is no format: write json", text)
	}
	*f = "json"
	return nil
}

// Type is shown in the usage.
func (f *jsonFormat) Type() string { return "json" }

const logsLong = `Show what the proxies decided: a line for each verdict that they recorded, of all pods of a policy, of one pod, or of all pods
of the namespace. Denials are always recorded, the rest if a rule has audit: true.

Below a denied request stands the command that explains it. What a workload wrote is shown with control characters escaped.`

const logsExample = `  # What was denied in the last ten minutes, and what is being denied now
  kubectl netproxy logs agent --denied --since 10m -f

  # One pod, one host
  kubectl netproxy logs pod/agent-7d9f --host '*.github.com'

  # For another program
  kubectl netproxy logs agent -o json | jq .path

  # From a file with the lines of a proxy's container
  kubectl netproxy logs --from audit.jsonl`

func newLogsCommand(s *shell) *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use: "logs [POLICY | pod/NAME]", Aliases: []string{"audit"}, Short: "Show what the proxies decided",
		Long: logsLong, Example: logsExample, Args: cobra.MaximumNArgs(1), ValidArgsFunction: s.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := o.filter(s)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args, filter)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.From, "from", nil, "read files instead of pods; - is standard input (repeatable)")
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on with what comes, and with pods that come")
	flags.BoolVar(&o.Denied, "denied", false, "denials only")
	flags.BoolVar(&o.Allowed, "allowed", false, "what was let through only")
	flags.StringSliceVar(&o.Hosts, "host", nil, "only this host, as policies write it: a name, *.x or an address (repeatable)")
	flags.DurationVar(&o.Since, "since", 0, "only what is not older, such as 10m")
	flags.VarP(&o.Output, "output", "o", "json: a record on each line")
	return cmd
}

func (o *logsOptions) filter(s *shell) (*audit.Filter, error) {
	if o.Denied && o.Allowed {
		return nil, errors.New("--denied and --allowed exclude each other: leave both out for everything")
	}
	if o.Since < 0 {
		return nil, fmt.Errorf("--since %s: write a time span such as 10m", o.Since)
	}
	hosts, err := audit.ParseHosts(o.Hosts)
	if err != nil {
		return nil, err
	}
	f := &audit.Filter{Hosts: hosts}
	switch {
	case o.Denied:
		f.Only = audit.OnlyDenied
	case o.Allowed:
		f.Only = audit.OnlyAllowed
	}
	if o.Since > 0 {
		f.Since = s.now().Add(-o.Since)
	}
	return f, nil
}

func (o *logsOptions) run(ctx context.Context, s *shell, args []string, filter *audit.Filter) error {
	p := &recordPrinter{shell: s, u: s.painter(), filter: filter, json: o.Output != ""}
	if len(o.From) > 0 {
		if len(args) > 0 || o.Follow {
			return errors.New("--from reads files: leave out --follow and the name of a policy or pod")
		}
		return errors.Join(readLogs(s.In, o.From, p.take), p.err)
	}
	client, err := s.cluster()
	if err != nil {
		return err
	}
	target := ""
	if len(args) == 1 {
		target = args[0]
	}
	source, _, err := sourceOf(ctx, client, target)
	if err != nil {
		return err
	}
	source.follow, source.since = o.Follow, o.Since
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p.stop = stop
	pods, err := (&stream{client: client, source: source, take: p.take, trouble: s.logTrouble}).run(ctx)
	switch {
	case p.err != nil:
		return p.err
	case err != nil && ctx.Err() != nil && o.Follow:
		return nil // somebody has seen enough
	case err != nil:
		return err
	case pods == 0:
		fmt.Fprintf(s.ErrOut, "No pod has a proxy here. See which pods a policy selects: kubectl netproxy status%s\n", namespaceHint(s))
	}
	return nil
}

func (s *shell) logTrouble(pod string, err error) { s.warn("the log of pod %s: %v", pod, err) }

func readLogs(stdin io.Reader, names []string, take func([]byte)) error {
	for _, name := range names {
		data, err := slurp(stdin, name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err := eachLine(bytes.NewReader(data), take); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// recordPrinter prints records as they come.
type recordPrinter struct {
	*shell
	u      *ui.Renderer
	filter *audit.Filter
	json   bool
	stop   func()
	err    error
}

func (p *recordPrinter) take(line []byte) {
	record, kind := audit.Parse(line)
	if kind != audit.IsRecord || !p.filter.Wants(&record) || p.err != nil {
		return
	}
	text := string(bytes.TrimSpace(line)) + "\n"
	if !p.json {
		text = p.text(&record)
	}
	if _, p.err = fmt.Fprint(p.Out, text); p.err != nil && p.stop != nil {
		p.stop()
	}
}

func (p *recordPrinter) text(r *audit.Record) string {
	mark := p.u.Mark(ui.Good, "ALLOWED")
	if r.Denied() {
		mark = p.u.Mark(ui.Bad, "DENIED ")
	}
	what := r.URL()
	if r.HTTP() {
		what = r.Method + " " + what
	}
	pod := r.Namespace + "/" + r.Pod
	line := fmt.Sprintf("%s  %s  %s  %s  %s\n", r.Time.UTC().Format("15:04:05"), mark, audit.Clean(pod),
		p.u.Paint(ui.Strong, audit.Clean(what)), p.u.Paint(ui.Faint, audit.Clean(r.Outcome())))
	if !r.Denied() {
		return line
	}
	command := append([]string{"kubectl", "netproxy", "explain", "pod/" + r.Pod, "-n", r.Namespace}, r.ExplainArguments()...)
	return line + "          " + p.u.Paint(ui.Faint, audit.Shell(command)) + "\n"
}
