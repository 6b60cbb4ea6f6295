package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// pageSize bounds one answer to a list.
const pageSize = 500

// Pods lists the pods of a namespace, or of all if it is empty, by a label selector.
func (c *Client) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	var out []corev1.Pod
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		var page corev1.PodList
		if err := c.list(ctx, c.core, "pods", namespace, &options, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return out, nil
		}
	}
}

func (c *Client) list(ctx context.Context, client rest.Interface, resource, namespace string, options *metav1.ListOptions, into runtime.Object) error {
	err := client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).VersionedParams(options, c.codec).Do(ctx).Into(into)
	return Explain(err)
}

// Pod reads one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	out := &corev1.Pod{}
	return out, c.get(ctx, c.core, "pods", namespace, name, out)
}

// Secret reads one Secret.
func (c *Client) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	out := &corev1.Secret{}
	return out, c.get(ctx, c.core, "secrets", namespace, name, out)
}

// SecretMeta reads a Secret without its data.
func (c *Client) SecretMeta(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	data, err := body(c.core.Get().Namespace(namespace).Resource("secrets").Name(name).
		SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").Do(ctx))
	if err != nil {
		return nil, err
	}
	out := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	return out, nil
}

// SecretNames lists Secrets without their data.
func (c *Client) SecretNames(ctx context.Context, selector string) ([]types.NamespacedName, error) {
	data, err := body(c.core.Get().Resource("secrets").VersionedParams(&metav1.ListOptions{LabelSelector: selector}, c.codec).
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").Do(ctx))
	if err != nil {
		return nil, err
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("reading the names of Secrets: %w", err)
	}
	var out []types.NamespacedName
	for i := range list.Items {
		out = append(out, types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name})
	}
	return out, nil
}

// ConfigMap reads one ConfigMap.
func (c *Client) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	out := &corev1.ConfigMap{}
	return out, c.get(ctx, c.core, "configmaps", namespace, name, out)
}

// Nodes lists the nodes.
func (c *Client) Nodes(ctx context.Context) ([]corev1.Node, error) {
	var out corev1.NodeList
	err := c.list(ctx, c.core, "nodes", "", &metav1.ListOptions{}, &out)
	return out.Items, err
}

// Unlabel removes a label of a namespace.
func (c *Client) Unlabel(ctx context.Context, namespace, label string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{label: nil}}})
	if err != nil {
		return err
	}
	return Explain(c.core.Patch(types.MergePatchType).Resource("namespaces").Name(namespace).Param("fieldManager", FieldManager).Body(patch).Do(ctx).Error())
}

// ReadNamespace reads one namespace.
func (c *Client) ReadNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	out := &corev1.Namespace{}
	return out, c.get(ctx, c.core, "namespaces", "", name, out)
}

// Namespaces lists the namespaces with a label selector.
func (c *Client) Namespaces(ctx context.Context, selector string) ([]corev1.Namespace, error) {
	var out corev1.NamespaceList
	err := c.list(ctx, c.core, "namespaces", "", &metav1.ListOptions{LabelSelector: selector}, &out)
	return out.Items, err
}

func (c *Client) get(ctx context.Context, client rest.Interface, resource, namespace, name string, into runtime.Object) error {
	return Explain(client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Name(name).Do(ctx).Into(into))
}

// body is the answer as it came. Raw alone would lose what the API server says about an error.
func body(result rest.Result) ([]byte, error) {
	if err := result.Error(); err != nil {
		return nil, Explain(err)
	}
	return result.Raw()
}

// Page asks a pod's own HTTP server through the API server.
func (c *Client) Page(ctx context.Context, namespace, pod string, port int32, path string) ([]byte, error) {
	return body(c.core.Get().Namespace(namespace).Resource("pods").Name(pod + ":" + strconv.Itoa(int(port))).
		SubResource("proxy").Suffix(path).Do(ctx))
}

// Logs streams the log of a container.
func (c *Client) Logs(ctx context.Context, namespace, pod string, options *corev1.PodLogOptions) (io.ReadCloser, error) {
	out, err := c.core.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").VersionedParams(options, c.codec).Stream(ctx)
	return out, Explain(err)
}

// Version is the API server's.
func (c *Client) Version(ctx context.Context) (*version.Info, error) {
	data, err := body(c.core.Get().AbsPath("/version").Do(ctx))
	if err != nil {
		return nil, err
	}
	out := &version.Info{}
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("reading the version of %s: %w", c.Host(), err)
	}
	return out, nil
}

// May asks whether the user may do something, such as "create" "pods".
func (c *Client) May(ctx context.Context, verb, group, resource, namespace string) (bool, error) {
	review := map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{"verb": verb, "group": group, "resource": resource, "namespace": namespace}},
	}
	question, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	data, err := body(c.core.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").Body(question).
		SetHeader("Content-Type", runtime.ContentTypeJSON).Do(ctx))
	if err != nil {
		return false, err
	}
	var answer struct{ Status struct{ Allowed bool } }
	err = json.Unmarshal(data, &answer)
	return answer.Status.Allowed, err
}

// RestartTemplate changes an annotation of the pod template of a Deployment, StatefulSet or DaemonSet, which rolls it.
func (c *Client) RestartTemplate(ctx context.Context, resource, namespace, name, annotation, value string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{annotation: value}},
	}}})
	if err != nil {
		return err
	}
	return Explain(c.core.Patch(types.StrategicMergePatchType).AbsPath("/apis/apps/v1/namespaces", namespace, resource, name).
		Param("fieldManager", FieldManager).Body(patch).Do(ctx).Error())
}

// Owner reads the controller of an object in the apps group, to find a Deployment behind a ReplicaSet. Nil if there is none.
func (c *Client) Owner(ctx context.Context, namespace, replicaSet string) (*metav1.OwnerReference, error) {
	data, err := body(c.core.Get().AbsPath("/apis/apps/v1/namespaces", namespace, "replicasets", replicaSet).Do(ctx))
	if err != nil {
		return nil, err
	}
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("reading ReplicaSet %s/%s: %w", namespace, replicaSet, err)
	}
	return metav1.GetControllerOf(&object), nil
}
