package lab

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestExitHelper is the child of TestEnterReturnsTheExitCode.
func TestExitHelper(t *testing.T) {
	code := os.Getenv(exitEnv)
	if code == "" {
		t.Skip("a helper process")
	}
	n, err := strconv.Atoi(code)
	if err != nil || !Inside() {
		os.Exit(99)
	}
	os.Exit(n)
}

func TestEnterReturnsTheExitCode(t *testing.T) {
	for _, want := range []int{0, 7} {
		t.Setenv(exitEnv, strconv.Itoa(want))
		got, err := Enter(t.Context(), []string{"-test.run=^TestExitHelper$"}, Streams{})
		if err != nil || got != want {
			t.Errorf("exit code %d, %v, want %d", got, err, want)
		}
	}
}

// TestPodFiles: the workload sees the lab's resolver, and the proxy's
// directory is closed to it where UIDs exist.
func TestPodFiles(t *testing.T) {
	l := testLab(t)
	var out strings.Builder
	cmd := exec.Command("cat", "/etc/resolv.conf")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.Pods[0].Run(cmd); err != nil || out.String() != l.resolvConf() {
		t.Errorf("resolv.conf in the pod: %v\n%s", err, out.String())
	}
	if !hasUIDs() {
		return
	}
	if err := l.Pods[0].Run(exec.Command("ls", "/run/netproxy")); err == nil {
		t.Error("the workload can look into the proxy's directory")
	}
}
