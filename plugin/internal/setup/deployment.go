package setup

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Variables of the webhook's container that name images, by the key of --set.
var imageVariables = map[string]string{"init": "INIT_IMAGE", "proxy": "PROXY_IMAGE", "cli": "CLI_IMAGE"}

const highReplicas = 3

func (o *Options) setResource(path string, quantity resource.Quantity) {
	part, name, _ := strings.Cut(path, ".")
	list := &o.Resources.Requests
	if part == "limits" {
		list = &o.Resources.Limits
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[corev1.ResourceName(name)] = quantity
}

// deployment sets images, replicas and where they run.
func (o *Options) deployment(object *unstructured.Unstructured, tag string) error {
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) == 0 {
		return fmt.Errorf("the Deployment in the manifests has no containers: %w", err)
	}
	container, ok := containers[0].(map[string]any)
	if !ok {
		return fmt.Errorf("the Deployment in the manifests has a container that is none")
	}
	image := func(key, have string) string {
		switch {
		case o.Images[key] != "":
			return o.Images[key]
		case tag != "" && strings.HasSuffix(have, ":dev"):
			return strings.TrimSuffix(have, "dev") + tag
		}
		return have
	}
	container["image"] = image("webhook", fmt.Sprint(container["image"]))
	variables, _ := container["env"].([]any)
	for _, v := range variables {
		entry, _ := v.(map[string]any)
		for key, name := range imageVariables {
			if entry["name"] == name {
				entry["value"] = image(key, fmt.Sprint(entry["value"]))
			}
		}
	}
	if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
		return err
	}
	return o.spread(object)
}

func (o *Options) spread(object *unstructured.Unstructured) error {
	replicas := o.Replicas
	if replicas == 0 && o.Availability == High {
		replicas = highReplicas
	}
	if replicas > 0 {
		if err := unstructured.SetNestedField(object.Object, replicas, "spec", "replicas"); err != nil {
			return err
		}
	}
	if o.Availability != High {
		return nil
	}
	labels, _, err := unstructured.NestedMap(object.Object, "spec", "selector", "matchLabels")
	if err != nil {
		return err
	}
	return unstructured.SetNestedSlice(object.Object, []any{map[string]any{
		"maxSkew": int64(1), "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
		"labelSelector": map[string]any{"matchLabels": labels},
	}}, "spec", "template", "spec", "topologySpreadConstraints")
}

// extra are objects that only some installations have.
func (o *Options) extra() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	add := func(apiVersion, kind, name string, fields map[string]any) {
		object := &unstructured.Unstructured{Object: fields}
		object.SetAPIVersion(apiVersion)
		object.SetKind(kind)
		object.SetName(name)
		object.SetNamespace(o.Namespace)
		out = append(out, object)
	}
	if defaults := o.defaults(); len(defaults) > 0 {
		add("v1", "ConfigMap", v1alpha1.DefaultsConfigMap, map[string]any{"data": defaults})
	}
	return out
}

// defaults are the data of the ConfigMap with the cluster's defaults.
func (o *Options) defaults() map[string]any {
	out := map[string]any{}
	if len(o.Resources.Requests)+len(o.Resources.Limits) > 0 {
		if text, err := yaml.Marshal(o.Resources); err == nil {
			out[v1alpha1.DefaultsResourcesKey] = string(text)
		}
	}
	if len(o.PrivateRanges) > 0 {
		if text, err := yaml.Marshal(o.PrivateRanges); err == nil {
			out[v1alpha1.DefaultsPrivateRangesKey] = string(text)
		}
	}
	return out
}

// ProxyImage is the Envoy that the Deployment puts into pods, InitImage its netproxy-init; empty if it does not say.
func ProxyImage(deployment *unstructured.Unstructured) string {
	return variable(deployment, imageVariables["proxy"])
}

// InitImage is netproxy-init's.
func InitImage(deployment *unstructured.Unstructured) string {
	return variable(deployment, imageVariables["init"])
}

// WebhookImage is what the Deployment itself runs.
func WebhookImage(deployment *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if len(containers) == 0 {
		return ""
	}
	container, _ := containers[0].(map[string]any)
	image, _ := container["image"].(string)
	return image
}

func variable(deployment *unstructured.Unstructured, name string) string {
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		variables, _ := container["env"].([]any)
		for _, v := range variables {
			if entry, _ := v.(map[string]any); entry["name"] == name {
				return fmt.Sprint(entry["value"])
			}
		}
	}
	return ""
}
