package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// fieldManager is who owns the fields that tests set: kubectl, so that kubectl can change them without a conflict.
const fieldManager = "kubectl"

// Parse reads the documents of a YAML text.
func Parse(text string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		if len(o.Object) > 0 {
			out = append(out, &o)
		}
	}
}

// Apply writes objects by server-side apply, in their order. An object without a namespace gets the given one, if it can
// have one.
func (c *Cluster) Apply(ctx context.Context, namespace string, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		resource, err := c.resource(o, namespace)
		if err != nil {
			return err
		}
		if _, err := resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// ApplyText is [Cluster.Apply] for a YAML text.
func (c *Cluster) ApplyText(ctx context.Context, namespace, text string) error {
	objects, err := Parse(text)
	if err != nil {
		return err
	}
	return c.Apply(ctx, namespace, objects...)
}

// Get returns an object as the API server has it now.
func (c *Cluster) Get(ctx context.Context, o *unstructured.Unstructured, namespace string) (*unstructured.Unstructured, error) {
	resource, err := c.resource(o, namespace)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, o.GetName(), metav1.GetOptions{})
}

// Delete deletes objects. It does not wait.
func (c *Cluster) Delete(ctx context.Context, namespace string, objects ...*unstructured.Unstructured) error {
	var errs []error
	for _, o := range objects {
		resource, err := c.resource(o, namespace)
		if err == nil {
			err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Cluster) resource(o *unstructured.Unstructured, namespace string) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) { // a CustomResourceDefinition that came after the cache
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.Dynamic.Resource(mapping.Resource), nil
	}
	if o.GetNamespace() != "" {
		namespace = o.GetNamespace()
	}
	return c.Dynamic.Resource(mapping.Resource).Namespace(namespace), nil
}
