package cluster

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// CreatePod creates a pod, and returns it as admission made it.
func (c *Client) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	out := &corev1.Pod{}
	return out, c.create(ctx, "pods", pod.Namespace, pod, out)
}

// CreateSecret creates a Secret.
func (c *Client) CreateSecret(ctx context.Context, secret *corev1.Secret) error {
	return c.create(ctx, "secrets", secret.Namespace, secret, &corev1.Secret{})
}

func (c *Client) create(ctx context.Context, resource, namespace string, object, into runtime.Object) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return Explain(c.core.Post().Namespace(namespace).Resource(resource).Param("fieldManager", FieldManager).
		SetHeader("Content-Type", runtime.ContentTypeJSON).Body(data).Do(ctx).Into(into))
}

// DeletePod deletes a pod and what it owns; one that is gone is no error.
func (c *Client) DeletePod(ctx context.Context, namespace, name string) error {
	return c.remove(ctx, "pods", namespace, name)
}

// DeleteSecret deletes a Secret; one that is gone is no error.
func (c *Client) DeleteSecret(ctx context.Context, namespace, name string) error {
	return c.remove(ctx, "secrets", namespace, name)
}

func (c *Client) remove(ctx context.Context, resource, namespace, name string) error {
	err := c.core.Delete().Namespace(namespace).Resource(resource).Name(name).
		Param("propagationPolicy", string(metav1.DeletePropagationBackground)).Do(ctx).Error()
	if IsNotFound(err) {
		return nil
	}
	return Explain(err)
}
