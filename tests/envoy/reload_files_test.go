package envoy

import (
	"fmt"
	"testing"
	"time"
)

// rotatedWith is rotated with a credential of another Secret: its file is new.
func rotatedWith(secret string) string {
	return fmt.Sprintf(`
egress:
  defaultAction: Deny
  rules:
  - {name: rotated, action: Allow, hosts: [rotated.reload.example], ports: [{port: 443}]}
mitm:
  domains: [rotated.reload.example]
  headerMutations:
  - domain: rotated.reload.example
    headers: [{name: Authorization, secretRef: {name: %s, key: k}, prefix: "Bearer "}]
`, secret)
}

// TestNewFiles: a configuration that refers to files which were not there before is taken at once. The kubelet makes the
// visible name of a new file only after it has switched to the new version.
func TestNewFiles(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	p := startRotated(ctx, t)
	for i := range 30 {
		if err := p.change(ctx, egress(t, rotatedWith(fmt.Sprintf("s%d", i)))); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
}
