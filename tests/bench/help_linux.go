package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// helpRuns is how often each command is run, in turns.
const helpRuns = 20

// help compares how long the plugin takes to show its help with how long kubectl takes to tell its version.
func help(ctx context.Context, _ *options, _ io.Writer) ([]row, error) {
	const measure = "kubectl-netproxy --help"
	plugin, err := filepath.Abs("bin/kubectl-netproxy")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(plugin); err != nil {
		return []row{skipped(measure, "bin/kubectl-netproxy is missing: run make build")}, nil
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return []row{skipped(measure, "kubectl is not installed")}, nil
	}
	var pairs [][2]float64
	for range helpRuns {
		left, err := timed(ctx, kubectl, "version", "--client")
		if err != nil {
			return nil, err
		}
		right, err := timed(ctx, plugin, "--help")
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]float64{left, right})
	}
	return []row{compared(measure, "ms", "kubectl version --client", pairs, atMost, 0.5)}, nil
}

// timed runs a command and returns its milliseconds.
func timed(ctx context.Context, program string, args ...string) (float64, error) {
	began := time.Now()
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return time.Since(began).Seconds() * 1e3, nil
}
