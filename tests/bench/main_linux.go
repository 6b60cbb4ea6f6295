// Command bench measures netproxy: beside an Envoy that does nothing but interception ("bare"), beside mitmproxy and squid,
// and by itself (rendering, start, the plugin's help).
//
//	make bench BENCHFLAGS='-run intercept -rounds 7 -json'
//
// ENVOY names the Envoy to run. All traffic stays in network namespaces of the command's own; it needs root or user
// namespaces, and Linux. Only ratios of one run mean anything: what is compared runs in turns, round by round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"

	"github.com/netproxy/netproxy/plugin/lab"
)

// options are the flags.
type options struct {
	run    *regexp.Regexp
	rounds int
	json   bool
	envoy  string
	made   *world // nil until a benchmark wants it
}

// benchmark is one selectable part. prepare runs outside of the namespaces, where there is a network: it may install what
// is missing. run returns the rows that it has even when it returns an error.
type benchmark struct {
	name    string
	prepare func(context.Context, io.Writer) error
	run     func(context.Context, *options, io.Writer) ([]row, error)
}

func benchmarks() []benchmark {
	return []benchmark{
		// These two use all cores; the world of the others takes one of them.
		{name: "render", run: render},
		{name: "help", run: help},
		{name: "startup", run: startup},
		{name: "intercept", run: intercept},
		{name: "mitmproxy", prepare: installMITMProxy, run: besideMITMProxy},
		{name: "squid", prepare: installSquid, run: besideSquid},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := start(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

func start(ctx context.Context, args []string) (int, error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	if lab.Inside() {
		return measure(ctx, o)
	}
	for _, b := range o.selected() {
		if b.prepare == nil {
			continue
		}
		if err := b.prepare(ctx, os.Stderr); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", b.name, err) // run says that it is skipped
		}
	}
	return lab.Enter(ctx, args, lab.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

func parse(args []string) (*options, error) {
	o := &options{envoy: os.Getenv("ENVOY")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := flags.String("run", "", "`regexp` of the benchmarks to run: render, help, startup, intercept, mitmproxy, squid")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each comparison is repeated, 1 to 50; fewer than 5 are a trial")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.rounds < 1 || o.rounds > 50 {
		return nil, fmt.Errorf("-rounds is %d: use 1 to 50", o.rounds)
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	if len(o.selected()) == 0 {
		return nil, fmt.Errorf("-run %q selects no benchmark", *pattern)
	}
	return o, nil
}

func (o *options) selected() []benchmark {
	var out []benchmark
	for _, b := range benchmarks() {
		if o.run.MatchString(b.name) {
			out = append(out, b)
		}
	}
	return out
}

// measure returns 1 if a benchmark could not be run, and 0 whatever the numbers are: a number from a shared machine is
// not a test result.
func measure(ctx context.Context, o *options) (int, error) {
	var rows []row
	var failed []error
	for _, b := range o.selected() {
		fmt.Fprintf(os.Stderr, "# %s\n", b.name)
		got, err := b.run(ctx, o, os.Stderr)
		for i := range got {
			got[i].Benchmark = b.name
		}
		rows = append(rows, got...)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	if o.made != nil {
		failed = append(failed, o.made.close())
	}
	return 0, errors.Join(append(failed, printRows(os.Stdout, rows, o))...)
}

// world is the one in which all benchmarks of this process run.
func (o *options) world() (*world, error) {
	if o.made != nil {
		return o.made, nil
	}
	if o.envoy == "" {
		return nil, errors.New("ENVOY is not set: give it the path of an Envoy, or use make bench")
	}
	w, err := newWorld()
	o.made = w
	return w, err
}
