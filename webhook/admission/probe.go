package admission

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/control"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
	"github.com/netproxy/netproxy/xds"
)

// bind is the policy that a probe names, whatever the selectors of policies say.
func (s *server) bind(ctx context.Context, pod *corev1.Pod, namespace string) (*choice, error) {
	if pod.Name == "" {
		return nil, refusal{"metadata.generateName: a probe has a name from the beginning, which that of its Secret follows: write metadata.name"}
	}
	ref, invalid := inject.BoundTo(pod, namespace)
	if invalid != nil {
		return nil, refusal{invalid.Error()}
	}
	policy, err := s.policy(ctx, ref)
	if err != nil {
		return nil, err
	}
	ns, err := s.namespace(ctx, namespace)
	if err != nil {
		return nil, err
	}
	unfit := func(why, fix string) error {
		return refusal{fmt.Sprintf("annotation %s: %s %s: %s", v1alpha1.AnnotationProbe, ref, why, fix)}
	}
	switch {
	case policy == nil:
		return nil, unfit("does not exist", "name a policy that does")
	case policy.GetDeletionTimestamp() != nil:
		return nil, unfit("is being deleted", "name another policy")
	case !selection.SelectsNamespace(policy, ns, s.Namespace):
		return nil, unfit("does not select namespace "+namespace, "probe it in one that it selects")
	}
	in, err := s.inputs(ctx, policy, namespace)
	in.Probe = pod.Name
	return &choice{policy, in}, err
}

// policy may be so new that the cache does not have it; nil if there is none.
func (s *server) policy(ctx context.Context, ref xds.PolicyRef) (v1alpha1.Policy, error) {
	if policy, err := control.Policy(ctx, s.reader, ref); err != nil || policy != nil {
		return policy, err
	}
	return control.Policy(ctx, s.live, ref)
}

// mayProbe is nil for somebody to whom a probe gives nothing that he has not got. He writes what its proxy is configured with, and that
// proxy is not filtered: he reaches whatever he likes. So he could by changing the policy that the pod is bound to; but where another
// policy selects pods with these labels, a probe would be a way around that one, so that he has to be one who may change it too. If
// none does, a pod without the annotation is under no policy at all.
func (s *server) mayProbe(ctx context.Context, request *podRequest, bound xds.PolicyRef) error {
	if err := s.mayUpdate(ctx, &request.User, bound, "a probe of it is for those who may change it"); err != nil {
		return err
	}
	ns, err := s.namespace(ctx, request.Namespace)
	if err != nil {
		return err
	}
	matching, err := s.matching(ctx, ns, request.Pod.Labels)
	if err != nil || len(matching) == 0 || selection.RefOf(matching[0]) == bound {
		return err
	}
	return s.mayUpdate(ctx, &request.User, selection.RefOf(matching[0]), "it selects the pod, which as a probe of "+bound.String()+" would get around it")
}

// mayUpdate asks the API server. why says what the right is needed for.
func (s *server) mayUpdate(ctx context.Context, user *authenticationv1.UserInfo, ref xds.PolicyRef, why string) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "update", Group: v1alpha1.Group, Version: v1alpha1.GroupVersion.Version, Resource: v1alpha1.ResourceOf(ref.Kind), Namespace: ref.Namespace, Name: ref.Name,
		},
	}}
	for key, values := range user.Extra {
		review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	if err := s.writer.Create(ctx, review); err != nil {
		return fmt.Errorf("ask whether %q may update %s: %w", user.Username, ref, err)
	}
	// Denied is of an authorizer that overrules the others.
	if review.Status.Allowed && !review.Status.Denied {
		return nil
	}
	return refusal{fmt.Sprintf("%q may not update %s%s, and %s: ask for the verb update on %s.%s, or attack the policy outside of the cluster, with kubectl netproxy test-fronting --local",
		user.Username, ref, because(review.Status), why, v1alpha1.ResourceOf(ref.Kind), v1alpha1.Group)}
}

func because(status authorizationv1.SubjectAccessReviewStatus) string {
	switch {
	case status.Reason != "":
		return " (" + status.Reason + ")"
	case status.EvaluationError != "":
		return " (" + status.EvaluationError + ")"
	}
	return ""
}
