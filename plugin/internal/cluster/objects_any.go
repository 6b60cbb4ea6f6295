package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Mapper finds the resource of a kind, and asks once per version.
type Mapper struct {
	client *Client
	known  map[schema.GroupVersion][]metav1.APIResource
}

// NewMapper makes a Mapper.
func (c *Client) NewMapper() *Mapper {
	return &Mapper{c, map[schema.GroupVersion][]metav1.APIResource{}}
}

// path is the address of an object.
func (m *Mapper) path(ctx context.Context, object *unstructured.Unstructured) ([]string, error) {
	kind := object.GroupVersionKind()
	resource, err := m.resource(ctx, kind)
	if err != nil {
		return nil, err
	}
	path := versionPath(kind.GroupVersion())
	if resource.Namespaced {
		path = append(path, "namespaces", object.GetNamespace())
	}
	return append(path, resource.Name, object.GetName()), nil
}

func versionPath(version schema.GroupVersion) []string {
	if version.Group == "" {
		return []string{"/api", version.Version}
	}
	return []string{"/apis", version.Group, version.Version}
}

func (m *Mapper) resource(ctx context.Context, kind schema.GroupVersionKind) (*metav1.APIResource, error) {
	version := kind.GroupVersion()
	known, ok := m.known[version]
	if !ok {
		data, err := body(m.client.core.Get().AbsPath(versionPath(version)...).Do(ctx))
		if err != nil {
			return nil, err
		}
		var list metav1.APIResourceList
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("reading the resources of %s: %w", version, err)
		}
		known = list.APIResources
		m.known[version] = known
	}
	for i := range known {
		if known[i].Kind == kind.Kind && !isSubresource(known[i].Name) {
			return &known[i], nil
		}
	}
	return nil, &meta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{version.Version}}
}

func isSubresource(name string) bool {
	for _, r := range name {
		if r == '/' {
			return true
		}
	}
	return false
}

// ApplyAny sends an object as a server-side apply.
func (m *Mapper) ApplyAny(ctx context.Context, object *unstructured.Unstructured, options ApplyOptions) error {
	path, err := m.path(ctx, object)
	if err != nil {
		return err
	}
	intent, err := json.Marshal(object)
	if err != nil {
		return err
	}
	request := m.client.core.Patch(types.ApplyPatchType).AbsPath(path...).Param("fieldManager", FieldManager).Body(intent)
	if options.DryRun != Store {
		request = request.Param("dryRun", string(options.DryRun))
	}
	if options.Conflicts == TakeFields {
		request = request.Param("force", "true")
	}
	return Explain(request.Do(ctx).Error())
}

// Delete deletes an object and what belongs to it.
func (m *Mapper) Delete(ctx context.Context, object *unstructured.Unstructured) error {
	path, err := m.path(ctx, object)
	if err != nil {
		return err
	}
	return Explain(m.client.core.Delete().AbsPath(path...).Param("propagationPolicy", string(metav1.DeletePropagationBackground)).Do(ctx).Error())
}

// Read reads an object of any kind; the argument names it.
func (m *Mapper) Read(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	path, err := m.path(ctx, object)
	if err != nil {
		return nil, err
	}
	data, err := body(m.client.core.Get().AbsPath(path...).Do(ctx))
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	return out, out.UnmarshalJSON(data)
}
