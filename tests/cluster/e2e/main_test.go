package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/netproxy/netproxy/tests/cluster"
)

// installed installs netproxy once for all tests of a run. NETPROXY_INSTALLED=1 takes what is there.
var installed = sync.OnceValue(func() error {
	if os.Getenv("NETPROXY_INSTALLED") != "" {
		return nil
	}
	c, err := cluster.Open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	return c.Install(ctx, root)
})

// newProtected is newEnv with netproxy in the cluster, and the world's CA as a ConfigMap that policies can name.
func newProtected(t *testing.T, limit time.Duration, images ...string) *env {
	t.Helper()
	if _, err := cluster.Open(); errors.Is(err, cluster.ErrNone) {
		t.Skip(err)
	}
	if err := installed(); err != nil {
		t.Fatalf("install netproxy: %v", err)
	}
	e := newEnv(t, limit, images...)
	ca, err := e.World.CA(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.apply(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: world-ca}\ndata: {ca.crt: %q}\n", ca))
	return e
}
