package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := removeLeftovers(ctx, c, time.Now().Add(-30*time.Minute)); err != nil {
		return err
	}
	return c.Install(ctx, root)
})

// removeLeftovers deletes the namespaces of runs that were killed: their pods take the node's CPUs.
func removeLeftovers(ctx context.Context, c *cluster.Cluster, before time.Time) error {
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, ns := range list.Items {
		if strings.HasPrefix(ns.Name, namespacePrefix) && ns.CreationTimestamp.Time.Before(before) {
			_ = c.Client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}) // it may be going already
		}
	}
	return nil
}

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
