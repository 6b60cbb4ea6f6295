package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	cradmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/webhook/control"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// validatePolicy refuses what is wrong, and warns of what is weaker than it looks.
func (s *server) validatePolicy(ctx context.Context, request cradmission.Request) cradmission.Response {
	policy, err := decode.Policy(request.Object.Raw)
	if err != nil {
		return cradmission.Errored(http.StatusUnprocessableEntity, err)
	}
	if policy.GetDeletionTimestamp() != nil {
		return cradmission.Allowed("") // only finalizers change now
	}
	warnings, errs := v1alpha1.ValidatePolicy(policy)
	errs = append(errs, rotationRequests(policy)...)
	if request.Operation == admissionv1.Update {
		old, err := decode.Policy(request.OldObject.Raw)
		if err != nil {
			return cradmission.Errored(http.StatusUnprocessableEntity, err)
		}
		errs = append(errs, v1alpha1.ValidateUpdate(policy.PolicySpec(), old.PolicySpec(), field.NewPath("spec"))...)
	}
	if len(errs) == 0 {
		errs = s.renderable(ctx, policy)
	}
	response := cradmission.Allowed("")
	if len(errs) > 0 {
		response = cradmission.Denied(errs.ToAggregate().Error())
	} else if request.DryRun == nil || !*request.DryRun {
		s.cover(ctx, policy)
	}
	for _, w := range warnings {
		response.Warnings = append(response.Warnings, w.String())
	}
	if s.isSystem(policy) {
		response.Warnings = append(response.Warnings, fmt.Sprintf("metadata.namespace: pods of %s belong to the system and are never touched: the policy has no effect there", policy.GetNamespace()))
	}
	return response
}

const (
	// coverAtOnce is how many namespaces are marked within one admission; the reconciler marks the rest.
	coverAtOnce = 16
	// labelSettles is what the API servers' own caches need to see a new label: they decide by it whether to ask for a pod.
	labelSettles = 100 * time.Millisecond
)

// cover turns admission on in the policy's namespaces before the policy exists: pods that are created right after it are not missed.
// What fails here is done by the reconciler.
func (s *server) cover(ctx context.Context, policy v1alpha1.Policy) {
	marked := 0
	for _, name := range s.uncovered(ctx, policy) {
		if control.LabelNamespace(ctx, s.writer, name, control.Enabled) == nil {
			marked++
		}
	}
	if marked == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(labelSettles):
	}
}

// uncovered are namespaces that the policy selects and that have no label yet.
func (s *server) uncovered(ctx context.Context, policy v1alpha1.Policy) []string {
	list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NamespaceList"}}
	if s.reader.List(ctx, &list) != nil {
		return nil
	}
	var out []string
	known := false
	for i := range list.Items {
		ns := selection.Namespace{Name: list.Items[i].Name, Labels: list.Items[i].Labels}
		known = known || ns.Name == policy.GetNamespace()
		if ns.Labels[v1alpha1.LabelEnabled] != control.Enabled && selection.SelectsNamespace(policy, ns, s.Namespace) && len(out) < coverAtOnce {
			out = append(out, ns.Name)
		}
	}
	if ns := policy.GetNamespace(); ns != "" && !known && !v1alpha1.IsSystemNamespace(ns, s.Namespace) {
		out = append(out, ns) // so new that the cache does not have it
	}
	return out
}

func (s *server) isSystem(policy v1alpha1.Policy) bool {
	return policy.GetNamespace() != "" && v1alpha1.IsSystemNamespace(policy.GetNamespace(), s.Namespace)
}

// renderable finds what only the whole shows: resources after merging, and the size.
func (s *server) renderable(ctx context.Context, policy v1alpha1.Policy) field.ErrorList {
	spec := policy.PolicySpec()
	resources, err := s.resources(ctx, spec)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("spec", "proxy", "resources"), err)}
	}
	if errs := v1alpha1.ValidateResources(&resources, field.NewPath("spec", "proxy", "resources")); len(errs) > 0 {
		return errs
	}
	ranges, _, err := control.PrivateRanges(ctx, s.reader, s.Namespace)
	if err != nil && !errors.Is(err, control.ErrDefaults) {
		return field.ErrorList{field.InternalError(field.NewPath("spec"), err)}
	}
	plan, err := xds.Compile(selection.RefOf(policy), spec, ranges...)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), "", err.Error())}
	}
	// Certificates do not matter for the size of what is far from the limit.
	files, err := plan.Render(xds.Config{LeafCert: []byte("-"), LeafKey: xds.SecretText("-")})
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), "", err.Error())}
	}
	if err := files.CheckSize(); err != nil {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), err.Error())}
	}
	return nil
}

func rotationRequests(policy v1alpha1.Policy) field.ErrorList {
	var errs field.ErrorList
	for _, key := range []string{v1alpha1.AnnotationRotateLeaf, v1alpha1.AnnotationRotateCA} {
		if value, ok := policy.GetAnnotations()[key]; ok {
			if _, err := time.Parse(time.RFC3339, value); err != nil {
				errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations").Key(key), value, "no time; write one as 2006-01-02T15:04:05Z"))
			}
		}
	}
	return errs
}

// mutateNamespace marks a namespace that a policy selects from its first moment on: its first pods may come before the reconciler does.
func (s *server) mutateNamespace(ctx context.Context, request cradmission.Request) cradmission.Response {
	ns, err := decodeObject[corev1.Namespace](request.Object.Raw)
	if err != nil {
		return failed(err)
	}
	if ns.Labels[v1alpha1.LabelEnabled] == control.Enabled || ns.DeletionTimestamp != nil {
		return cradmission.Allowed("")
	}
	policies, err := control.Policies(ctx, s.reader, ns.Name)
	if err != nil {
		return failed(err)
	}
	for _, p := range policies {
		if p.GetDeletionTimestamp() == nil && selection.SelectsNamespace(p, selection.Namespace{Name: ns.Name, Labels: ns.Labels}, s.Namespace) {
			return patched(inject.PatchLabel(ns.Labels, v1alpha1.LabelEnabled, control.Enabled), nil)
		}
	}
	return cradmission.Allowed("")
}
