package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

type checkOptions struct {
	Pre   bool
	Nodes bool
	// Timeout bounds the pods that look into nodes.
	Timeout time.Duration
	Set     []string
	Output  outputFormat
}

const checkLong = `Look for what is wrong, from the cluster down to the pods. Each finding has a code, which docs/troubleshooting.md explains,
and the next thing to do. --pre looks for what would be in the way of an installation.

The API server does not know what the kernels of the nodes can do. --nodes runs a pod on each that tries it: for some seconds, with
the image and the one capability (NET_ADMIN) of the init container, in the namespace of -n. That namespace has to allow it, and must
not have a policy. You need to be allowed to create and delete pods there.

Exit codes: 0 no error (warnings do not count), 2 an error, 1 the check could not run, or not look at everything.`

const checkExample = `  kubectl netproxy check --pre
  kubectl netproxy check
  kubectl netproxy check -o json

  # The kernels of the nodes too
  kubectl netproxy check --pre --nodes -n default`

func newCheckCommand(s *shell) *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use: "check", Short: "Look for what is wrong, and say what to do", Long: checkLong, Example: checkExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	cmd.Flags().BoolVar(&o.Pre, "pre", false, "look before an installation")
	cmd.Flags().BoolVar(&o.Nodes, "nodes", false, "run a pod on each node that tries what protected pods need of its kernel")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", time.Minute, "with --nodes: how long these pods may take")
	cmd.Flags().StringArrayVar(&o.Set, "set", nil, "namespace=NAME, if it is not "+setup.Namespace+"; images.init=IMAGE for --nodes")
	addOutputFlag(cmd, &o.Output)
	return cmd
}

// severity is how bad a finding is.
type severity string

const (
	severityOK      severity = "OK"
	severityWarning severity = "Warning"
	severityError   severity = "Error"
)

// finding is one thing that was looked at.
type finding struct {
	// Code is stable; what is fine has none.
	Code     string   `json:"code,omitempty"`
	Severity severity `json:"severity"`
	Text     string   `json:"text"`
	Hint     string   `json:"hint,omitempty"`
}

// checkTimeout bounds one question to the cluster.
const checkTimeout = 15 * time.Second

// checker gathers findings.
type checker struct {
	*shell
	client   *cluster.Client
	mapper   *cluster.Mapper
	options  setup.Options
	findings []finding
	// asked says that the API server would ask the webhook about policies.
	asked bool
	// unread is how many things could not be looked at.
	unread int
}

func (c *checker) ok(format string, args ...any) {
	c.findings = append(c.findings, finding{Severity: severityOK, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) problem(code string, severity severity, hint, format string, args ...any) {
	c.findings = append(c.findings, finding{code, severity, fmt.Sprintf(format, args...), hint})
}

func (o *checkOptions) run(ctx context.Context, s *shell) error {
	options, err := setup.Parse(o.Set)
	if err != nil {
		return err
	}
	client, err := s.cluster()
	if err != nil {
		return err
	}
	c := &checker{shell: s, client: client, mapper: client.NewMapper(), options: options, findings: []finding{}}
	steps := []func(context.Context) bool{c.server, c.kinds, c.defaults, c.deployment, c.webhooks, c.answer, c.rights, c.policies, c.pods}
	if o.Pre {
		steps = []func(context.Context) bool{c.server, c.nodes, c.mayInstall, c.namespaceLevels}
	}
	answers := true
	for _, step := range steps {
		if answers = c.bounded(ctx, step); !answers {
			break // what follows would only repeat it
		}
	}
	switch {
	case o.Nodes && answers:
		c.insideNodes(ctx, o.Timeout)
	case answers:
		c.ok("the nodes' kernels (nf_tables, inotify) were not looked into: add --nodes")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = o.print(s, c.findings)
	if err == nil && c.unread > 0 {
		return fmt.Errorf("nothing wrong was found, but %d things could not be looked at: let somebody run this who may read them", c.unread)
	}
	return err
}

func (c *checker) bounded(ctx context.Context, step func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return step(ctx)
}

func (o *checkOptions) print(s *shell, findings []finding) error {
	worst := severityOK
	for _, f := range findings {
		if f.Severity == severityError || worst == severityOK {
			worst = f.Severity
		}
	}
	if o.Output != "" {
		if err := o.Output.print(s.Out, findings); err != nil {
			return err
		}
	} else if err := printFindings(s, findings); err != nil {
		return err
	}
	if worst == severityError {
		return exitCode(ExitBad)
	}
	return nil
}

func printFindings(s *shell, findings []finding) error {
	u := s.painter()
	looks := map[severity]ui.Tone{severityOK: ui.Good, severityWarning: ui.Notice, severityError: ui.Bad}
	words := map[severity]string{severityOK: "OK     ", severityWarning: "WARNING", severityError: "ERROR  "}
	for _, f := range findings {
		line := u.Mark(looks[f.Severity], words[f.Severity])
		if f.Code != "" {
			line += "  " + u.Paint(ui.Strong, f.Code)
		}
		line += "  " + f.Text + "\n"
		if f.Hint != "" {
			line += "           " + f.Hint + "\n"
		}
		if _, err := fmt.Fprint(s.Out, line); err != nil {
			return err
		}
	}
	return nil
}
