package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/plugin/internal/ui"
	"github.com/netproxy/netproxy/plugin/lab/attack"
)

type frontingOptions struct {
	policyOptions
	Local bool
	List  bool
	Envoy string
	Only  []string
	JUnit string
	// Timeout bounds a probe in the cluster.
	Timeout time.Duration
	Output  outputFormat
}

const frontingLong = `Attack a policy and show what got through.

A policy of the cluster, or that of a pod, is attacked in a pod that is made for it: the webhook injects it like those of the
workload, which are not touched, and their credentials stay where they are. Inside of that pod is an Internet of its own with a
DNS server, which writes down what reaches it; nothing leaves the pod, and it is deleted afterwards. You need to be allowed
to update the policy, and to create pods and Secrets.

--local builds the same on this machine: network namespaces, the packet filter of a pod, a real Envoy with the rendered files. It
needs Linux and Envoy 1.40, and takes policies from files too. Root is not needed where user namespaces are allowed.

Clients inside of the pod try to get around the policy. Every row checks what the client got and what arrived outside.

Exit codes: 0 nothing leaked, 1 the test could not run, 2 something leaked or an answer is not what the policy promises.`

const frontingExample = `  # Attack a policy of the cluster, in a pod that is made for it
  kubectl netproxy test-fronting agent

  # What a pod runs, on its node
  kubectl netproxy test-fronting pod/agent-0 -n demo

  # In CI: a policy from a file, on this machine
  kubectl netproxy test-fronting -f policy.yaml --local --junit fronting.xml

  # With the real credentials; they stay on this machine
  kubectl netproxy test-fronting -f policy.yaml -f secrets.yaml --local

  # One attack again
  kubectl netproxy test-fronting agent --only front-stranger-h1 -o json`

func newFrontingCommand(s *shell) *cobra.Command {
	o := &frontingOptions{}
	cmd := &cobra.Command{
		Use: "test-fronting (POLICY | pod/NAME | -f FILENAME --local)", Short: "Attack a policy, to prove that domain fronting does not work",
		Long: frontingLong, Example: frontingExample, Args: cobra.MaximumNArgs(1), DisableFlagsInUseLine: true, ValidArgsFunction: s.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.List {
				return o.list(s)
			}
			if err := o.validate(args); err != nil {
				return err
			}
			return o.start(cmd.Context(), s, args)
		},
	}
	o.addFlags(cmd.Flags())
	flags := cmd.Flags()
	flags.BoolVar(&o.Local, "local", false, "attack in a lab on this machine instead of a pod in the cluster")
	flags.BoolVar(&o.List, "list", false, "list the scenarios and do nothing")
	flags.StringVar(&o.Envoy, "envoy", "", "with --local: path of Envoy (default: $ENVOY, then envoy on the PATH)")
	flags.StringVar(&o.JUnit, "junit", "", "file for the results in JUnit's format too")
	flags.StringSliceVar(&o.Only, "only", nil, "run these scenarios only (repeatable)")
	flags.DurationVar(&o.Timeout, "timeout", 10*time.Minute, "in the cluster: how long the pod may take")
	addOutputFlag(cmd, &o.Output)
	return cmd
}

func (o *frontingOptions) validate(args []string) error {
	switch {
	case len(args) == 0 && len(o.Filenames) == 0:
		return errors.New("attack what? write the name of a policy, pod/NAME, or -f FILENAME with --local")
	case !o.Local && len(o.Filenames) > 0:
		return errors.New("-f is for the lab on this machine: add --local, or apply the policy and write its name")
	case len(args) == 0:
		if err := o.policyOptions.validate(); err != nil {
			return err
		}
	}
	known := attack.Scenarios()
	for _, id := range o.Only {
		if !slices.ContainsFunc(known, func(s attack.Scenario) bool { return s.ID == id }) {
			return fmt.Errorf("--only %q: no such scenario: see kubectl netproxy test-fronting --list", id)
		}
	}
	return nil
}

// start chooses the place.
func (o *frontingOptions) start(ctx context.Context, s *shell, args []string) error {
	if !o.Local {
		return o.inCluster(ctx, s, args[0])
	}
	var err error
	if o.Envoy, err = envoyPath(s, o.Envoy); err != nil {
		return err
	}
	enter := func(ctx context.Context, s *shell) error {
		return inLab(ctx, s, func(ctx context.Context) error { return o.run(ctx, s) })
	}
	if len(args) == 1 {
		return o.fromCluster(ctx, s, args[0], enter)
	}
	return enter(ctx, s)
}

func (o *frontingOptions) list(s *shell) error {
	var rows [][]string
	for _, scenario := range attack.Scenarios() {
		rows = append(rows, []string{scenario.ID, scenario.Category, scenario.Title})
	}
	_, err := fmt.Fprint(s.Out, s.painter().Table([]string{"ID", "CATEGORY", "SCENARIO"}, rows))
	return err
}

func (o *frontingOptions) run(ctx context.Context, s *shell) error {
	c, err := o.load(s)
	if err != nil {
		return err
	}
	r, err := startLab(ctx, s, c, o.Envoy)
	if err != nil {
		return err
	}
	progress := s.newProgress(len(attack.Select(o.Only)))
	rows, err := attack.Run(ctx, attack.Options{Lab: r.lab, Pod: r.pod, Target: r.target, Only: o.Only, Progress: progress.row})
	progress.end()
	if err := r.closeLab(err); err != nil {
		return err
	}
	return o.finish(s, newFrontingReport(r.ref().String(), "in the local lab", r.differences, rows))
}

// finish writes the report, and says with the exit code what it is.
func (o *frontingOptions) finish(s *shell, report frontingReport) error {
	if o.JUnit != "" {
		if err := report.writeJUnit(o.JUnit); err != nil {
			return err
		}
	}
	if o.Output != "" {
		if err := o.Output.print(s.Out, report); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(s.Out, report.text(s.painter())); err != nil {
		return err
	}
	if slices.ContainsFunc(report.Rows, attack.Outcome.Bad) {
		return exitCode(ExitBad)
	}
	return nil
}

// frontingReport is what test-fronting found.
type frontingReport struct {
	Policy      string                `json:"policy"`
	Where       string                `json:"where"`
	Differences []string              `json:"differences"`
	Rows        []attack.Outcome      `json:"rows"`
	Summary     map[attack.Result]int `json:"summary"`
}

// newFrontingReport counts the rows. where is such as "in the local lab".
func newFrontingReport(policy, where string, differences []string, rows []attack.Outcome) frontingReport {
	out := frontingReport{Policy: policy, Where: where, Differences: differences, Rows: rows, Summary: map[attack.Result]int{
		attack.Pass: 0, attack.Leak: 0, attack.Fail: 0, attack.Open: 0, attack.Skipped: 0,
	}}
	for _, row := range rows {
		out.Summary[row.Result]++
	}
	return out
}

func (f frontingReport) text(u *ui.Renderer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", u.Paint(ui.Strong, f.Policy), f.Where)
	for _, d := range f.Differences {
		fmt.Fprintf(&b, "  not as in the pods: %s\n", d)
	}
	fmt.Fprintf(&b, "\n%s\n", f.table(u))
	for _, result := range []attack.Result{attack.Leak, attack.Fail, attack.Open} {
		f.details(&b, u, result)
	}
	f.skipped(&b, u)
	fmt.Fprintln(&b, f.summary(u))
	return b.String()
}

// table leaves out what was skipped: an empty row says nothing.
func (f frontingReport) table(u *ui.Renderer) string {
	var rows [][]string
	for _, row := range f.Rows {
		if row.Result != attack.Skipped {
			rows = append(rows, []string{row.Title, row.SNI, row.Host, row.Expected, row.Got, mark(u, row.Result)})
		}
	}
	return u.Table([]string{"SCENARIO", "SNI", "HOST", "EXPECTED", "GOT", "RESULT"}, rows)
}

func mark(u *ui.Renderer, r attack.Result) string { return u.Mark(toneOf(r), string(r)) }

func toneOf(r attack.Result) ui.Tone {
	switch r {
	case attack.Pass:
		return ui.Good
	case attack.Leak, attack.Fail:
		return ui.Bad
	case attack.Open:
		return ui.Notice
	}
	return ui.Faint
}

func (f frontingReport) details(b *strings.Builder, u *ui.Renderer, result attack.Result) {
	count := 0
	for _, row := range f.Rows {
		if row.Result != result {
			continue
		}
		text := row.Detail
		if row.Advice != "" {
			text = row.Advice
		}
		fmt.Fprintf(b, "%s  %s: %s\n", mark(u, result), row.ID, text)
		count++
	}
	if count > 0 {
		fmt.Fprintln(b)
	}
}

// skipped names each reason once.
func (f frontingReport) skipped(b *strings.Builder, u *ui.Renderer) {
	var reasons []string
	ids := map[string][]string{}
	for _, row := range f.Rows {
		if row.Result != attack.Skipped {
			continue
		}
		if ids[row.Detail] == nil {
			reasons = append(reasons, row.Detail)
		}
		ids[row.Detail] = append(ids[row.Detail], row.ID)
	}
	for _, reason := range reasons {
		fmt.Fprintf(b, "%s  %s: %s\n", mark(u, attack.Skipped), reason, strings.Join(ids[reason], ", "))
	}
	if len(reasons) > 0 {
		fmt.Fprintln(b)
	}
}

func (f frontingReport) summary(u *ui.Renderer) string {
	text := fmt.Sprintf("%d attacks and controls: %d passed, %d leaked, %d failed, %d open, %d skipped", len(f.Rows),
		f.Summary[attack.Pass], f.Summary[attack.Leak], f.Summary[attack.Fail], f.Summary[attack.Open], f.Summary[attack.Skipped])
	switch {
	case f.Summary[attack.Leak] > 0:
		return u.Paint(ui.Bad, text)
	case f.Summary[attack.Fail] > 0:
		return u.Paint(ui.Bad, text) + "\nnothing leaked, but not every answer is what the policy promises"
	case f.Summary[attack.Pass] == 0:
		return u.Paint(ui.Notice, text) + "\nnothing was tested: the policy has nothing that these attacks are about"
	}
	return u.Paint(ui.Good, text)
}
