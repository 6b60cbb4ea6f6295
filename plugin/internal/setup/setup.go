// Package setup makes the objects of netproxy's installation, as somebody wants them. It is pure.
package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Namespace is where netproxy lives if nobody says otherwise, Name what its objects are called.
const (
	Namespace  = "netproxy-system"
	Name       = "netproxy"
	Deployment = "netproxy-webhook"
)

// Availability is how much may fail at once.
type Availability string

// The values: Usual is two replicas on different nodes if there are any; High is three, always on different nodes.
const (
	Usual Availability = ""
	High  Availability = "high"
)

// Options are what people change.
type Options struct {
	Namespace    string
	Images       map[string]string // by their name in the manifests: webhook, init, proxy, cli
	Resources    v1alpha1.Resources
	Availability Availability
	Replicas     int64
	// PrivateRanges count as private besides the built-in ones.
	PrivateRanges []netip.Prefix
}

// Keys are what --set takes, with an example each.
func Keys() map[string]string {
	return map[string]string{
		"namespace": "netproxy-system", "replicas": "2",
		"images.webhook": "registry.example/netproxy-webhook:v1", "images.init": "registry.example/netproxy-init:v1", "images.proxy": "registry.example/envoy:v1.40.0",
		"privateRanges":          "25.0.0.0/8,2001:db8::/32",
		"images.cli":             "registry.example/netproxy-cli:v1",
		"resources.requests.cpu": "50m", "resources.requests.memory": "64Mi", "resources.limits.cpu": "500m", "resources.limits.memory": "256Mi",
	}
}

// Parse reads key=value pairs.
func Parse(pairs []string) (Options, error) {
	out := Options{Namespace: Namespace, Images: map[string]string{}}
	var errs []error
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			errs = append(errs, fmt.Errorf("--set %q: write KEY=VALUE", pair))
			continue
		}
		if err := out.set(key, value); err != nil {
			errs = append(errs, fmt.Errorf("--set %s: %w", pair, err))
		}
	}
	merged := out.Resources.Over(v1alpha1.DefaultResources(&v1alpha1.EgressPolicySpec{}))
	if err := v1alpha1.ValidateResources(&merged, nil).ToAggregate(); err != nil {
		errs = append(errs, fmt.Errorf("--set resources: %w", err))
	}
	return out, errors.Join(errs...)
}

func (o *Options) set(key, value string) error {
	if _, ok := Keys()[key]; !ok {
		return fmt.Errorf("there is no such key: write one of %s", strings.Join(slices.Sorted(maps.Keys(Keys())), ", "))
	}
	switch first, rest, _ := strings.Cut(key, "."); first {
	case "namespace":
		if errs := validation.IsDNS1123Label(value); len(errs) > 0 {
			return fmt.Errorf("no name of a namespace: %s", errs[0])
		}
		if value != Namespace && v1alpha1.IsSystemNamespace(value, "") {
			return errors.New("that namespace belongs to the system: choose one of its own")
		}
		o.Namespace = value
	case "replicas":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 1 {
			return errors.New("write a number from 1 on")
		}
		o.Replicas = n
	case "privateRanges":
		ranges, errs := v1alpha1.ValidatePrivateRanges(strings.Split(value, ","), field.NewPath(key))
		if len(errs) > 0 {
			return errs.ToAggregate()
		}
		o.PrivateRanges = ranges
	case "images":
		if strings.ContainsAny(value, " \t\"'") {
			return errors.New("no name of an image")
		}
		o.Images[rest] = value
	default:
		quantity, err := resource.ParseQuantity(value)
		if err != nil {
			return errors.New("no quantity: write one such as 100m or 64Mi")
		}
		o.setResource(rest, quantity)
	}
	return nil
}

// Objects are all objects in the order in which to create them. tag is the version of netproxy's own images; empty leaves
// what the manifests have.
func Objects(crds, install fs.FS, options Options, tag string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, source := range []fs.FS{crds, install} {
		names, err := fs.Glob(source, "*.yaml")
		if err != nil {
			return nil, err
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := fs.ReadFile(source, name)
			if err != nil {
				return nil, err
			}
			objects, err := parse(options.rename(string(text)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, objects...)
		}
	}
	for _, object := range out {
		if object.GetKind() == "Deployment" {
			if err := options.deployment(object, tag); err != nil {
				return nil, err
			}
		}
	}
	return append(out, options.extra()...), nil
}

// rename puts another namespace wherever the manifests name it, inside of expressions too.
func (o *Options) rename(text string) string {
	if o.Namespace == Namespace || o.Namespace == "" {
		return text
	}
	return regexp.MustCompile(`\b`+Namespace+`\b`).ReplaceAllString(text, o.Namespace)
}

func parse(text string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for part := range strings.SplitSeq("\n"+text, "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(part))
		if err != nil {
			return nil, err
		}
		if string(raw) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		out = append(out, object)
	}
	return out, nil
}

// Print writes the objects as one YAML text.
func Print(objects []*unstructured.Unstructured) (string, error) {
	var b strings.Builder
	for _, object := range objects {
		data, err := object.MarshalJSON()
		if err != nil {
			return "", err
		}
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			return "", err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}
