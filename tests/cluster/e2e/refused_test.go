package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

const quota = `
apiVersion: v1
kind: ResourceQuota
metadata: {name: few-secrets}
spec: {hard: {secrets: "%d"}}
`

// TestWriteRefused: what the API server does not take from netproxy is told by the status, with its reason, and tried again.
func TestWriteRefused(t *testing.T) {
	e := newProtected(t, 3*time.Minute, "tool")
	e.name(t, "api.outage.example")
	e.apply(t, fmt.Sprintf(quota, 0))
	e.eventually(t, arrives, func() string {
		out, err := e.Kubectl(e.ctx, "-n", e.ns, "get", "resourcequota", "few-secrets", "-o", "jsonpath={.status.hard.secrets}")
		if string(out) != "0" {
			return fmt.Sprintf("the quota is not counted yet: %s %v", out, err)
		}
		return ""
	})
	e.apply(t, outagePolicy)
	e.eventually(t, 20*time.Second, func() string {
		return e.says(t, "EgressPolicy", "agent", v1alpha1.ConditionReady, v1alpha1.ReasonRefused, "exceeded quota: few-secrets")
	})
	e.apply(t, toolPod("agent", "sleep")) // waits for its volume
	e.apply(t, fmt.Sprintf(quota, 5))
	e.settled(t)
	e.ready(t, "agent")
	e.settled(t)
}
