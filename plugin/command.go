package plugin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

// The exit codes.
const (
	// ExitGood: the command ran, and the answer is good.
	ExitGood = 0
	// ExitFailed: the command could not run: bad input, a missing file, no lab on this machine.
	ExitFailed = 1
	// ExitBad: the command ran, and the answer is bad: a test found a leak, a check an error, a diff a difference.
	ExitBad = 2
)

// shell is what the verbs have from the outside.
type shell struct {
	IOStreams
	version string
	// args are the arguments of the process, for a verb that starts itself again.
	args []string
	now  func() time.Time
	// wait sleeps, or ends early with the context.
	wait func(context.Context, time.Duration) error
	rand io.Reader
	env  ui.Environment
	// color is the value of --color.
	color string
	// kube are kubectl's flags, client what came of them, nil until a verb needs it.
	kube   *cluster.Flags
	client *cluster.Client
	// advised is what people were told already: the API server repeats what this program knows itself.
	advised *advised
}

// advised is safe for concurrent use.
type advised struct{ sync.Map }

// first says whether a text is new.
func (a *advised) first(text string) bool {
	_, known := a.LoadOrStore(text, true)
	return !known
}

// IOStreams are the standard streams, as kubectl's commands have them.
type IOStreams = genericiooptions.IOStreams

// Run runs the command line with args, which begin behind the program's name, and returns the exit code. Errors go to the
// error stream.
func Run(ctx context.Context, streams IOStreams, version string, args []string) int {
	return run(ctx, newShell(streams, version, args))
}

// NewCommand makes the command, for those who run it themselves. version is what was built, such as a tag.
func NewCommand(streams IOStreams, version string) *cobra.Command {
	return newCommand(newShell(streams, version, os.Args[1:]))
}

func newShell(streams IOStreams, version string, args []string) *shell {
	return &shell{IOStreams: streams, version: version, args: args, now: time.Now, wait: sleep, rand: rand.Reader, env: os.LookupEnv, kube: &cluster.Flags{}, advised: &advised{}}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func run(ctx context.Context, s *shell) int {
	cmd := newCommand(s)
	cmd.SetArgs(s.args)
	err := cmd.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return ExitGood
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errInterrupted
	}
	fmt.Fprintf(s.ErrOut, "%s %s\n", s.errorPainter().Paint(ui.Bad, "error:"), err)
	return ExitFailed
}

// errInterrupted stands for whatever a cancelled request says.
var errInterrupted = errors.New("interrupted")

// exitCode ends a verb that has said everything already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

const rootLong = `Control what pods may reach, and see it for yourself.

A policy names hosts, ports, methods and paths. An Envoy next to each selected pod enforces it, and puts credentials into
requests that the workload never holds. What takes -f FILENAME works on files and needs no cluster.`

const rootExample = `  # A first policy: deny everything but one API
  kubectl netproxy create policy agent --selector app=agent --allow 'POST https://api.openai.com/v1/*' --mitm api.openai.com

  # What will a policy do? Does it let this request through?
  kubectl netproxy explain -f policy.yaml
  kubectl netproxy explain -f policy.yaml POST https://api.openai.com/v1/files

  # Apply it, and follow until the pods run it
  kubectl netproxy apply -f policy.yaml

  # Attack it in namespaces of this machine
  kubectl netproxy test-fronting -f policy.yaml --local`

func newCommand(s *shell) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-netproxy",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl netproxy"},
		Short:         "Control what pods may reach",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			_, err := ui.ParseColorMode(s.color)
			return err
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help' for usage", err, cmd.CommandPath())
	})
	root.SetUsageFunc(usage)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.PersistentFlags().StringVar(&s.color, "color", string(ui.ColorAuto), "colours: auto, always or never; auto respects NO_COLOR and CLICOLOR_FORCE")
	s.kube.Add(root.PersistentFlags())
	addVerbs(root, s)
	s.completeFlags(root)
	return root
}

func addVerbs(root *cobra.Command, s *shell) {
	root.AddGroup(groups()...)
	root.AddCommand(grouped(groupPolicy,
		newCreateCommand(s), newConvertCommand(s), newLearnCommand(s), newExplainCommand(s), newRenderCommand(s), newFrontingCommand(s))...)
	root.AddCommand(grouped(groupWatch, newApplyCommand(s), newDiffCommand(s), newGetCommand(s), newStatusCommand(s), newLogsCommand(s))...)
	root.AddCommand(grouped(groupCluster, newInstallCommand(s), newUninstallCommand(s), newCheckCommand(s), newRotateCommand(s), newTrustCommand(s), newInjectCommand(s))...)
	root.AddCommand(grouped(groupOther,
		newDemoCommand(s), newProbeCommand(s), newVersionCommand(s), newCompletionCommand(s), newOptionsCommand(s))...)
}

// noArguments tells a mistyped verb from a stray argument.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		hint := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			hint = ": did you mean " + strings.Join(names, " or ") + "?"
		}
		return fmt.Errorf("unknown command %q%s\nSee '%s --help' for the commands", args[0], hint, cmd.CommandPath())
	}
	return fmt.Errorf("unexpected argument %q\nSee '%s --help' for usage", args[0], cmd.CommandPath())
}

// painter draws for the output stream.
func (s *shell) painter() *ui.Renderer { return ui.New(s.Out, s.env, s.colorMode()) }

func (s *shell) errorPainter() *ui.Renderer { return ui.New(s.ErrOut, s.env, s.colorMode()) }

func (s *shell) colorMode() ui.ColorMode {
	mode, err := ui.ParseColorMode(s.color)
	if err != nil {
		return ui.ColorAuto // reported before any verb runs
	}
	return mode
}

// warn prints advice the way kubectl prints the API server's.
func (s *shell) warn(format string, args ...any) {
	fmt.Fprintf(s.ErrOut, "%s %s\n", s.errorPainter().Paint(ui.Notice, "Warning:"), fmt.Sprintf(format, args...))
}
