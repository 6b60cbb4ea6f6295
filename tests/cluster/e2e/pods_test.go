package e2e

import (
	"encoding/json"
	"fmt"
)

const javaHome = "/usr/lib/jvm/java-17-openjdk-amd64"

// clientImages are Debian with one client each.
func clientImages() []string {
	return []string{"curl", "python", "node", "java", "git", "privateca"}
}

// toolPod is a pod of the test tool, with the label app=name.
func toolPod(name string, args ...string) string {
	return pod(name, "tool", "args", args)
}

// clientPod is a pod in which commands can be run.
func clientPod(image string) string {
	return pod(image, image, "command", []string{"sleep", "86400"})
}

func pod(name, image, field string, args []string) string {
	list, _ := json.Marshal(args)
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "netproxy.test/%s:1", imagePullPolicy: Never, %s: %s}
`, name, name, image, field, list)
}
