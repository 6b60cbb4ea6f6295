package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Kind of a policy; objects that come from the API server's typed answers carry none.
func Kind(p v1alpha1.Policy) string {
	if _, ok := p.(*v1alpha1.ClusterEgressPolicy); ok {
		return v1alpha1.KindClusterEgressPolicy
	}
	return v1alpha1.KindEgressPolicy
}

func empty(kind string) v1alpha1.Policy {
	if kind == v1alpha1.KindClusterEgressPolicy {
		return &v1alpha1.ClusterEgressPolicy{}
	}
	return &v1alpha1.EgressPolicy{}
}

// withKind writes apiVersion and kind, which clients leave out of typed objects.
func withKind(p v1alpha1.Policy) v1alpha1.Policy {
	p.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(Kind(p)))
	return p
}

// EgressPolicies lists those of a namespace, or of all if it is empty.
func (c *Client) EgressPolicies(ctx context.Context, namespace string) ([]v1alpha1.Policy, error) {
	var list v1alpha1.EgressPolicyList
	if err := c.list(ctx, c.policy, v1alpha1.ResourceOf(v1alpha1.KindEgressPolicy), namespace, &metav1.ListOptions{}, &list); err != nil {
		return nil, err
	}
	var out []v1alpha1.Policy
	for i := range list.Items {
		out = append(out, withKind(&list.Items[i]))
	}
	return out, nil
}

// ClusterEgressPolicies lists the cluster-wide ones.
func (c *Client) ClusterEgressPolicies(ctx context.Context) ([]v1alpha1.Policy, error) {
	var list v1alpha1.ClusterEgressPolicyList
	if err := c.list(ctx, c.policy, v1alpha1.ResourceOf(v1alpha1.KindClusterEgressPolicy), "", &metav1.ListOptions{}, &list); err != nil {
		return nil, err
	}
	var out []v1alpha1.Policy
	for i := range list.Items {
		out = append(out, withKind(&list.Items[i]))
	}
	return out, nil
}

// Policy reads one; namespace is ignored for a cluster-wide one.
func (c *Client) Policy(ctx context.Context, kind, namespace, name string) (v1alpha1.Policy, error) {
	if kind == v1alpha1.KindClusterEgressPolicy {
		namespace = ""
	}
	out := empty(kind)
	if err := c.get(ctx, c.policy, v1alpha1.ResourceOf(kind), namespace, name, out); err != nil {
		return nil, err
	}
	return withKind(out), nil
}

// ApplyOptions say how a policy is applied.
type ApplyOptions struct {
	// DryRun makes the API server answer without storing anything.
	DryRun DryRun
	// Conflicts says what happens to fields that somebody else owns.
	Conflicts Conflicts
}

// DryRun is whether something is stored.
type DryRun string

// Conflicts is what happens to fields of another manager.
type Conflicts string

// The values of ApplyOptions.
const (
	Store      DryRun    = ""
	Validate   DryRun    = "All"
	Refuse     Conflicts = ""
	TakeFields Conflicts = "force"
)

// Apply sends what the user wrote as a server-side apply, and returns what the API server makes of it.
func (c *Client) Apply(ctx context.Context, p v1alpha1.Policy, options ApplyOptions) (v1alpha1.Policy, error) {
	intent, err := Intent(p)
	if err != nil {
		return nil, err
	}
	request := c.policy.Patch(types.ApplyPatchType).NamespaceIfScoped(p.GetNamespace(), p.GetNamespace() != "").
		Resource(v1alpha1.ResourceOf(Kind(p))).Name(p.GetName()).Param("fieldManager", FieldManager).Param("fieldValidation", "Strict").Body(intent)
	if options.DryRun != Store {
		request = request.Param("dryRun", string(options.DryRun))
	}
	if options.Conflicts == TakeFields {
		request = request.Param("force", "true")
	}
	out := empty(Kind(p))
	if err := request.Do(ctx).Into(out); err != nil {
		return nil, Explain(err)
	}
	return withKind(out), nil
}

// Intent is the JSON of what a user asks for: no status, and no metadata that the API server writes.
func Intent(p v1alpha1.Policy) ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", Kind(p), p.GetName(), err)
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	delete(object, "status")
	object["apiVersion"], object["kind"] = v1alpha1.GroupVersion.String(), Kind(p)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "deletionTimestamp", "selfLink"} {
			delete(metadata, field)
		}
		withoutFinalizer(metadata)
	}
	return json.Marshal(object)
}

// withoutFinalizer leaves out netproxy's own: in a file it would be put back when netproxy is not there to take it away.
func withoutFinalizer(metadata map[string]any) {
	list, _ := metadata["finalizers"].([]any)
	list = slices.DeleteFunc(list, func(entry any) bool { return entry == v1alpha1.Finalizer })
	if metadata["finalizers"] = list; len(list) == 0 {
		delete(metadata, "finalizers")
	}
}

// Annotate sets annotations of a policy and leaves everything else to its owners.
func (c *Client) Annotate(ctx context.Context, p v1alpha1.Policy, annotations map[string]string) (v1alpha1.Policy, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return nil, err
	}
	out := empty(Kind(p))
	err = c.policy.Patch(types.MergePatchType).NamespaceIfScoped(p.GetNamespace(), p.GetNamespace() != "").
		Resource(v1alpha1.ResourceOf(Kind(p))).Name(p.GetName()).Param("fieldManager", FieldManager).Body(patch).Do(ctx).Into(out)
	if err != nil {
		return nil, Explain(err)
	}
	return withKind(out), nil
}

// DropFinalizers lets a policy go when nobody is left who would.
func (c *Client) DropFinalizers(ctx context.Context, p v1alpha1.Policy) error {
	return Explain(c.policy.Patch(types.MergePatchType).NamespaceIfScoped(p.GetNamespace(), p.GetNamespace() != "").
		Resource(v1alpha1.ResourceOf(Kind(p))).Name(p.GetName()).Body([]byte(`{"metadata":{"finalizers":null}}`)).Do(ctx).Error())
}
