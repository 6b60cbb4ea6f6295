// Package envoy tests the rendered configuration on a real Envoy with real sockets, in the local lab.
package envoy

import (
	"context"
	"crypto/rand"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/plugin/lab"
)

var seed = flag.Uint64("seed", 0, "seed of the generated policies; 0 takes a new one")

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// theLab is one lab for all tests of the package; each test takes a pod of its own.
var theLab = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.New(context.Background(), lab.Options{Pods: 6})
})

// pods that the tests use, by index.
const (
	podAgreement = iota
	podExamples
	podReload
	podGolden
	podFaults
	podAudit
)

func testLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := theLab()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testContext(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func newSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	n := uint64(0)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
