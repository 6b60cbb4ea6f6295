package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/manifests"
)

type schema = apiextensionsv1.JSONSchemaProps

// readSchema is the whole schema of a kind, from the file of its plural.
func readSchema(plural string) (*schema, error) {
	crds, err := manifests.CRDs()
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(crds, "netproxy.dev_"+plural+".yaml")
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", plural, err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema, nil
}

// foreign are types of Kubernetes' own, which it documents itself.
func foreign(name string) string {
	const docs = "https://kubernetes.io/docs/"
	switch name {
	case "podSelector", "namespaceSelector":
		return "[label selector](" + docs + "concepts/overview/working-with-objects/labels/#label-selectors)"
	case "requests", "limits":
		return "map of `cpu` and `memory` to [quantities](" + docs + "reference/kubernetes-api/common-definitions/quantity/)"
	case "conditions":
		return "list of [conditions](" + docs + "reference/generated/kubernetes-api/v1.37/#condition-v1-meta)"
	}
	return ""
}

// object is what has fields below a field: itself, or each of its entries.
func object(name string, s *schema) *schema {
	switch {
	case foreign(name) != "":
		return nil
	case len(s.Properties) > 0:
		return s
	case s.Items != nil && s.Items.Schema != nil && len(s.Items.Schema.Properties) > 0:
		return s.Items.Schema
	}
	return nil
}

// typeOf is in the words of somebody who writes YAML.
func typeOf(name string, s *schema) string {
	switch {
	case foreign(name) != "":
		return foreign(name)
	case s.Type == "array" && object(name, s) != nil:
		return "list of objects"
	case s.Type == "array":
		return "list of " + typeOf("", s.Items.Schema) + "s"
	case s.Format == "date-time":
		return "time"
	}
	return s.Type
}

// limits are what the API server holds, in words.
func limits(s *schema) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, code(v.Raw))
		}
		add("one of %s", strings.Join(values, ", "))
	}
	if text := between(s.Minimum, s.Maximum); text != "" {
		add("%s", text)
	}
	if text := between(s.MinLength, s.MaxLength); text != "" {
		add("%s characters", text)
	}
	if text := between(s.MinItems, s.MaxItems); text != "" {
		add("%s entries", text)
	}
	if s.Default != nil && s.Type != "object" {
		add("default %s", code(s.Default.Raw))
	}
	return out
}

func code(raw []byte) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return "`" + text + "`"
	}
	return "`" + string(raw) + "`"
}

func between[N int64 | float64](least, most *N) string {
	number := func(n *N) string { return strconv.FormatFloat(float64(*n), 'f', -1, 64) }
	switch {
	case least != nil && most != nil:
		return number(least) + " to " + number(most)
	case most != nil:
		return "at most " + number(most)
	case least != nil && *least > 0:
		return "at least " + number(least)
	}
	return ""
}

// sortedFields puts what is required first, then the order of the alphabet: the schema keeps no other.
func sortedFields(s *schema) []string {
	var out []string
	for name := range s.Properties {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		if x, y := slices.Contains(s.Required, a), slices.Contains(s.Required, b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return out
}
