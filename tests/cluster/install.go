package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// System is netproxy's own namespace, Webhook its Deployment.
const (
	System  = "netproxy-system"
	Webhook = "netproxy-webhook"
)

// Install builds netproxy from the repository at root, installs it as users do, with the images of the tests, and waits
// until it serves. Called again it updates what is there.
func (c *Cluster) Install(ctx context.Context, root string) error {
	if err := c.LoadImages(ctx, root, "webhook", "init", "envoy"); err != nil {
		return err
	}
	text, err := c.Kubectl(ctx, "kustomize", filepath.Join(root, "manifests/install"))
	if err != nil {
		return err
	}
	objects, err := Parse(string(text))
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			if err := useTestImages(o, time.Now()); err != nil {
				return err
			}
		}
	}
	if err := c.Apply(ctx, "", objects...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return c.WaitDeployment(ctx, System, Webhook)
}

// useTestImages names images that are in the cluster. Their names stay when their content changes: the annotation makes new
// pods.
func useTestImages(o *unstructured.Unstructured, now time.Time) error {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		return fmt.Errorf("read the Deployment: %w", err)
	}
	container := &d.Spec.Template.Spec.Containers[0]
	container.Image = "netproxy.test/webhook:1"
	setEnv(container, "INIT_IMAGE", "netproxy.test/init:1")
	setEnv(container, "PROXY_IMAGE", "netproxy.test/envoy:1")
	setEnv(container, "CLI_IMAGE", "netproxy.test/cli:1")
	d.Spec.Template.Annotations = map[string]string{"netproxy.test/built": now.Format(time.RFC3339Nano)}
	var err error
	o.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&d)
	unstructured.RemoveNestedField(o.Object, "status")
	return err
}

func setEnv(c *corev1.Container, name, value string) {
	for i := range c.Env {
		if c.Env[i].Name == name {
			c.Env[i].Value = value
		}
	}
}

// WaitDeployment waits until all replicas of a Deployment run its newest template.
func (c *Cluster) WaitDeployment(ctx context.Context, namespace, name string) error {
	for {
		d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
			d.Status.ReadyReplicas == *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas {
			return nil
		}
		select {
		case <-ctx.Done():
			out, _ := c.Kubectl(context.WithoutCancel(ctx), "-n", namespace, "describe", "pods")
			return fmt.Errorf("wait for Deployment %s/%s: %w\n%s", namespace, name, errors.Join(ctx.Err(), err), out)
		case <-time.After(poll):
		}
	}
}
