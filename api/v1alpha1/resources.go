package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// DefaultResources are what a sidecar has when neither the cluster's defaults nor the policy say otherwise. Interception
// costs more.
func DefaultResources(spec *EgressPolicySpec) Resources {
	if spec.MITM == nil {
		return resources("50m", "64Mi", "500m", "256Mi")
	}
	return resources("100m", "128Mi", "1000m", "512Mi")
}

func resources(cpuRequest, memoryRequest, cpuLimit, memoryLimit string) Resources {
	return Resources{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpuRequest), corev1.ResourceMemory: resource.MustParse(memoryRequest),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpuLimit), corev1.ResourceMemory: resource.MustParse(memoryLimit),
		},
	}
}

// Over returns base with every quantity replaced that r sets. Merge first, then ask ValidateResources.
func (r *Resources) Over(base Resources) Resources {
	return Resources{Requests: over(r.Requests, base.Requests), Limits: over(r.Limits, base.Limits)}
}

func over(list, base corev1.ResourceList) corev1.ResourceList {
	merged := base.DeepCopy()
	if merged == nil {
		merged = corev1.ResourceList{}
	}
	for name, quantity := range list {
		merged[name] = quantity.DeepCopy()
	}
	return merged
}
