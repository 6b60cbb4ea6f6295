package control

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/render"
)

// CacheOptions keep in memory what decisions need, and nothing else: of pods a few fields, of Secrets and ConfigMaps their names and
// labels, never their data. Whoever reads must not change what he gets: it is shared.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform:             slimMeta,
		DefaultUnsafeDisableDeepCopy: new(true),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                   {Transform: slimPod},
			&v1alpha1.EgressPolicy{}:        {Transform: cache.TransformStripManagedFields()},
			&v1alpha1.ClusterEgressPolicy{}: {Transform: cache.TransformStripManagedFields()},
		},
	}
}

// defaultsOptions are for the one ConfigMap that is cached whole. It needs a cache of its own: options are for all objects of a kind,
// and of the other ConfigMaps the metadata is watched.
func defaultsOptions(own string) cache.Options {
	return cache.Options{
		DefaultUnsafeDisableDeepCopy: new(true),
		ByObject: map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {
			Namespaces: map[string]cache.Config{own: {FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, v1alpha1.DefaultsConfigMap)}},
		}},
	}
}

// slimMeta drops what nobody reads from objects of which only metadata is cached.
func slimMeta(in any) (any, error) {
	if object, ok := in.(*metav1.PartialObjectMetadata); ok {
		slimAnnotations(&object.ObjectMeta)
		object.ManagedFields, object.OwnerReferences = nil, nil
	}
	return in, nil
}

func slimAnnotations(meta *metav1.ObjectMeta) {
	var kept map[string]string
	for _, key := range []string{
		v1alpha1.AnnotationRevision, v1alpha1.AnnotationTrusted, v1alpha1.AnnotationIssuer, v1alpha1.AnnotationConfigRevision,
		v1alpha1.AnnotationLeafNotAfter, v1alpha1.AnnotationCANotAfter, v1alpha1.AnnotationProbe,
	} {
		if value, ok := meta.Annotations[key]; ok {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	meta.Annotations = kept
}

// slimPod keeps a tenth of a pod.
func slimPod(in any) (any, error) {
	pod, ok := in.(*corev1.Pod)
	if !ok {
		return in, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
			Annotations: pod.Annotations, DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec:   corev1.PodSpec{ActiveDeadlineSeconds: pod.Spec.ActiveDeadlineSeconds},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}
	slimAnnotations(&slim.ObjectMeta)
	for _, c := range pod.Spec.InitContainers {
		if c.Name == inject.ProxyContainer {
			slim.Spec.InitContainers = []corev1.Container{{Name: c.Name, RestartPolicy: c.RestartPolicy, StartupProbe: c.StartupProbe}}
		}
	}
	for _, s := range pod.Status.InitContainerStatuses {
		if s.Name == inject.ProxyContainer {
			slim.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: s.Name, Started: s.Started, RestartCount: s.RestartCount}}
		}
	}
	return slim, nil
}

// Names of indices.
const (
	podPolicyIndex = "netproxy.policy"
	secretIndex    = "netproxy.secrets"
	configMapIndex = "netproxy.configmaps"
	caIndex        = "netproxy.ca"
)

func userCA(spec *v1alpha1.EgressPolicySpec) []string {
	if spec.MITM == nil || spec.MITM.CASecretRef == nil {
		return nil
	}
	return []string{spec.MITM.CASecretRef.Name}
}

func policyKey(kind, name string) string { return kind + "/" + name }

func index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &corev1.Pod{}, podPolicyIndex, func(o client.Object) []string {
		if name := o.GetLabels()[v1alpha1.LabelPolicy]; name != "" {
			return []string{policyKey(o.GetLabels()[v1alpha1.LabelPolicyKind], name)}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index pods: %w", err)
	}
	for _, policy := range []v1alpha1.Policy{&v1alpha1.EgressPolicy{}, &v1alpha1.ClusterEgressPolicy{}} {
		for name, pick := range map[string]func(*v1alpha1.EgressPolicySpec) []string{
			secretIndex:    func(s *v1alpha1.EgressPolicySpec) []string { return render.Referenced(s).Secrets },
			configMapIndex: func(s *v1alpha1.EgressPolicySpec) []string { return render.Referenced(s).ConfigMaps },
			caIndex:        userCA,
		} {
			err := indexer.IndexField(ctx, policy, name, func(o client.Object) []string { return pick(o.(v1alpha1.Policy).PolicySpec()) })
			if err != nil {
				return fmt.Errorf("index policies: %w", err)
			}
		}
	}
	return nil
}
