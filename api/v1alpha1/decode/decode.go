// Package decode reads the YAML that users write: policies, and the Secrets and ConfigMaps they refer to.
package decode

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Documents are the objects of one input, each kind in its order.
type Documents struct {
	Policies []v1alpha1.Policy
	// Secrets have stringData merged into data, as the API server does it.
	Secrets    []*corev1.Secret
	ConfigMaps []*corev1.ConfigMap
}

// Decode reads all documents of YAML or JSON, and the items of Lists. Unknown and duplicate fields, nulls in a spec,
// wrong types and kinds other than netproxy's, Secret and ConfigMap are errors with line or field path; all of them are
// returned, and no value of a Secret is ever part of them. Nothing is validated or defaulted.
func Decode(data []byte) (Documents, error) {
	var docs Documents
	var errs []error
	for _, part := range split(data) {
		raw, err := yaml.YAMLToJSONStrict(part.text)
		if err != nil {
			errs = append(errs, part.locate(err))
			continue
		}
		if string(raw) == "null" {
			continue
		}
		if err := docs.add(raw); err != nil {
			errs = append(errs, within(fmt.Sprintf("document at line %d", part.line), err))
		}
	}
	if len(errs) > 0 {
		return Documents{}, errors.Join(errs...)
	}
	return docs, nil
}

// Raw gives all documents of YAML or JSON as JSON, and the items of Lists instead of the Lists. Duplicate fields are errors
// with lines.
func Raw(data []byte) ([]json.RawMessage, error) {
	var out []json.RawMessage
	var errs []error
	for _, part := range split(data) {
		raw, err := yaml.YAMLToJSONStrict(part.text)
		if err != nil {
			errs = append(errs, part.locate(err))
			continue
		}
		var h header
		switch {
		case string(raw) == "null":
		case json.Unmarshal(raw, &h) == nil && h.APIVersion == "v1" && h.Kind == "List":
			out = append(out, h.Items...)
		default:
			out = append(out, raw)
		}
	}
	return out, errors.Join(errs...)
}

// Policy reads one policy from JSON, as admission gets it, with the strictness of Decode.
func Policy(raw []byte) (v1alpha1.Policy, error) {
	var docs Documents
	if err := docs.add(raw); err != nil {
		return nil, err
	}
	if len(docs.Policies) != 1 {
		return nil, fmt.Errorf("%d policies found, one is needed", len(docs.Policies))
	}
	return docs.Policies[0], nil
}

// header is what is read first of every document.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// title is what the object calls itself.
func (h *header) title() string {
	return fmt.Sprintf("%s %q", cmp.Or(h.Kind, "object"), h.Metadata.Name)
}

func (d *Documents) add(raw []byte) error {
	var h header
	if err := strictjson.UnmarshalCaseSensitivePreserveInts(raw, &h); err != nil {
		return withoutValue(err)
	}
	if h.APIVersion == "v1" && h.Kind == "List" {
		return d.addItems(h.Items)
	}
	if err := d.addKind(h.TypeMeta, raw); err != nil {
		return within(h.title(), err)
	}
	return nil
}

func (d *Documents) addItems(items []json.RawMessage) error {
	var errs []error
	for i, item := range items {
		if err := d.add(item); err != nil {
			errs = append(errs, within(fmt.Sprintf("items[%d]", i), err))
		}
	}
	return errors.Join(errs...)
}

func (d *Documents) addKind(kind metav1.TypeMeta, raw []byte) error {
	switch kind {
	case typeMeta(v1alpha1.GroupVersion.String(), v1alpha1.KindEgressPolicy):
		return d.addPolicy(raw, &v1alpha1.EgressPolicy{})
	case typeMeta(v1alpha1.GroupVersion.String(), v1alpha1.KindClusterEgressPolicy):
		return d.addPolicy(raw, &v1alpha1.ClusterEgressPolicy{})
	case typeMeta("v1", "Secret"):
		return d.addSecret(raw)
	case typeMeta("v1", "ConfigMap"):
		configMap := &corev1.ConfigMap{}
		d.ConfigMaps = append(d.ConfigMaps, configMap)
		return unmarshal(raw, configMap)
	}
	return unknownKind(kind)
}

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func unknownKind(kind metav1.TypeMeta) error {
	isPolicy := kind.Kind == v1alpha1.KindEgressPolicy || kind.Kind == v1alpha1.KindClusterEgressPolicy
	switch {
	case isPolicy:
		return fmt.Errorf("apiVersion %q: write %s", kind.APIVersion, v1alpha1.GroupVersion)
	case kind.Kind == "":
		return fmt.Errorf("kind is missing: write %s or %s", v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy)
	}
	return fmt.Errorf("apiVersion %q, kind %q: only %s and %s of %s, and Secret and ConfigMap of v1 are read",
		kind.APIVersion, kind.Kind, v1alpha1.KindEgressPolicy, v1alpha1.KindClusterEgressPolicy, v1alpha1.GroupVersion)
}

func (d *Documents) addPolicy(raw []byte, policy v1alpha1.Policy) error {
	d.Policies = append(d.Policies, policy)
	return errors.Join(unmarshal(raw, policy), refuseNulls(raw))
}

func (d *Documents) addSecret(raw []byte) error {
	secret := &corev1.Secret{}
	d.Secrets = append(d.Secrets, secret)
	if err := unmarshal(raw, secret); err != nil {
		return err
	}
	for key, value := range secret.StringData {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
	return nil
}

func unmarshal(raw []byte, into any) error {
	strict, err := strictjson.UnmarshalStrict(raw, into)
	if errors.Is(err, resource.ErrFormatWrong) {
		return fmt.Errorf("spec.proxy.resources: %w; write quantities such as 100m or 64Mi", err)
	}
	if err != nil {
		return withoutValue(err)
	}
	for i, one := range strict {
		strict[i] = fmt.Errorf("%w; correct or remove it", one)
	}
	return errors.Join(strict...)
}

// within puts a place in front of every error of a joined one, so that each line stands for itself.
func within(place string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", place, err)
	}
	var errs []error
	for _, one := range joined.Unwrap() {
		errs = append(errs, within(place, one))
	}
	return errors.Join(errs...)
}

// withoutValue keeps values, which may be secret, out of type errors.
func withoutValue(err error) error {
	var typeErr *json.UnmarshalTypeError
	if !errors.As(err, &typeErr) {
		return err
	}
	if typeErr.Field == "" {
		return errors.New("not an object; write apiVersion, kind, metadata and spec")
	}
	found, _, _ := strings.Cut(typeErr.Value, " ")
	return fmt.Errorf("field %q: found %s, needed %s; quote or correct it", typeErr.Field, found, needed(typeErr.Type))
}

func needed(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int32, reflect.Int64:
		return "whole number of at most " + strconv.Itoa(t.Bits()) + " bits"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return t.Kind().String()
}

// refuseNulls finds fields of the spec that are there without a value. The API server refuses them; taken as left out, a
// list of hosts whose entries are commented out would match everything.
func refuseNulls(raw []byte) error {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	var errs []error
	for _, path := range nulls("spec", object["spec"]) {
		errs = append(errs, fmt.Errorf("%s: no value; write one or remove the field", path))
	}
	return errors.Join(errs...)
}

func nulls(path string, value any) []string {
	var found []string
	switch v := value.(type) {
	case nil:
		return []string{path}
	case map[string]any:
		for key, child := range v {
			found = append(found, nulls(path+"."+key, child)...)
		}
		slices.Sort(found)
	case []any:
		for i, child := range v {
			found = append(found, nulls(fmt.Sprintf("%s[%d]", path, i), child)...)
		}
	}
	return found
}
