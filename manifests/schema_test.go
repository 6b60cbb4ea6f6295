package manifests_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/manifests"
)

// server does with objects what an API server does that has the CRDs: unknown fields, nulls, defaults, schema, lists, CEL.
type server struct{ kinds map[string]*kind }

type kind struct {
	structural *structuralschema.Structural
	schema     schemavalidation.SchemaValidator
	cel        *schemacel.Validator
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{kinds: map[string]*kind{}}
	for name, crd := range loadCRDs(t) {
		props := crd.Spec.Versions[0].Schema
		if props == nil {
			props = crd.Spec.Validation
		}
		structural, err := structuralschema.NewStructural(props.OpenAPIV3Schema)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		schema, _, err := schemavalidation.NewSchemaValidator(props.OpenAPIV3Schema)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.kinds[crd.Spec.Names.Kind] = &kind{structural, schema, schemacel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return s
}

// loadCRDs reads and defaults the CRDs as the API server stores them.
func loadCRDs(t *testing.T) map[string]*apiextensions.CustomResourceDefinition {
	t.Helper()
	dir, err := manifests.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil || len(names) != 2 {
		t.Fatalf("CRD files %v, want two: %v", names, err)
	}
	crds := map[string]*apiextensions.CustomResourceDefinition{}
	for _, name := range names {
		crds[name] = loadCRD(t, dir, name)
	}
	return crds
}

func loadCRD(t *testing.T, dir fs.FS, name string) *apiextensions.CustomResourceDefinition {
	t.Helper()
	data, err := fs.ReadFile(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &v1); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&v1)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&v1.Spec)
	v1.Status.StoredVersions = []string{v1.Spec.Versions[0].Name}
	var crd apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &crd, nil); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &crd
}

// admit returns the object with defaults, and what is wrong with it. old is nil for a creation.
func (s *server) admit(object, old map[string]any) []string {
	k, ok := s.kinds[fmt.Sprint(object["kind"])]
	if !ok {
		return []string{fmt.Sprintf("unknown kind %v", object["kind"])}
	}
	var found []string
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, k.structural, true, options) {
		found = append(found, fmt.Sprintf("unknown field %q", path))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.structural)
	defaulting.Default(object, k.structural)
	for _, err := range k.validate(object, old) {
		found = append(found, err.Error())
	}
	// The schema walks maps in any order.
	slices.Sort(found)
	return found
}

func (k *kind) validate(object, old map[string]any) field.ErrorList {
	var errs field.ErrorList
	var previous any
	if old == nil {
		errs = schemavalidation.ValidateCustomResource(nil, object, k.schema)
	} else {
		errs = schemavalidation.ValidateCustomResourceUpdate(nil, object, old, k.schema)
		previous = old
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, object)...)
	celErrs, _ := k.cel.Validate(context.Background(), nil, k.structural, object, previous, celconfig.RuntimeCELCostBudget)
	return append(errs, celErrs...)
}

// TestCRDs holds the CRDs to all that an API server asks of one, the estimated cost of the CEL rules included.
func TestCRDs(t *testing.T) {
	for name, crd := range loadCRDs(t) {
		for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
