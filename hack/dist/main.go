// Command dist builds what a release of the plugin consists of: an archive for each platform, their checksums, and the manifest
// for krew. The same commit, version and Go give the same bytes. Run it in the root of the repository; "make dist" does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	version := flag.String("version", "", "the release, such as v1.2.3")
	epoch := flag.Int64("epoch", 0, "the time of all files, in seconds since 1970")
	out := flag.String("out", "dist", "the directory, which is emptied first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	d := &dist{version: releaseVersion(*version), modified: time.Unix(*epoch, 0).UTC(), out: *out, build: build, log: os.Stdout}
	err := d.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// releaseVersion is what krew takes: a version with a v. Between releases it is made from the commit.
func releaseVersion(version string) string {
	if regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(version) {
		return version
	}
	return "v0.0.0-g" + regexp.MustCompile(`[^0-9A-Za-z-]+`).ReplaceAllString(version, "-")
}

// build leaves out what differs between machines: paths, the state of the repository, the identity of the build.
func build(ctx context.Context, p platform, version, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", file, "./cmd/kubectl-netproxy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build for %s: %w", p, err)
	}
	return nil
}
