// Package v1alpha1 is the contract of netproxy: the policy types of the group netproxy.dev, how hosts, domains,
// CIDRs and paths in them are read, and the one validation that admission and command line share.
//
// +kubebuilder:object:generate=true
// +groupName=netproxy.dev
package v1alpha1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object crd paths=. output:crd:dir=../../manifests/crd
