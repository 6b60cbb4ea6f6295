// Package convert turns vArmor's network policies into netproxy's. What has no counterpart is refused, with the field.
package convert

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kinds that are read.
const (
	apiVersion        = "crd.varmor.org/v1beta1"
	kindPolicy        = "VarmorPolicy"
	kindClusterPolicy = "VarmorClusterPolicy"
)

// source is as much of a policy as concerns the network. Decoding is strict: a field that is not here is a field that would
// be lost. What is here as "any" is known and refused with a better message.
type source struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metadata   `json:"metadata"`
	Spec            sourceSpec `json:"spec"`
	Status          any        `json:"status,omitempty"`
}

type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	ResourceVersion   any               `json:"resourceVersion,omitempty"`
	UID               any               `json:"uid,omitempty"`
	Generation        any               `json:"generation,omitempty"`
	CreationTimestamp any               `json:"creationTimestamp,omitempty"`
	ManagedFields     any               `json:"managedFields,omitempty"`
	Finalizers        any               `json:"finalizers,omitempty"`
}

type sourceSpec struct {
	Target                  target       `json:"target"`
	Policy                  sourcePolicy `json:"policy"`
	UpdateExistingWorkloads bool         `json:"updateExistingWorkloads,omitempty"`
}

type target struct {
	Kind       string                `json:"kind"`
	Name       string                `json:"name,omitempty"`
	Containers []string              `json:"containers,omitempty"`
	Selector   *metav1.LabelSelector `json:"selector,omitempty"`
}

type sourcePolicy struct {
	Enforcer        string          `json:"enforcer"`
	Mode            string          `json:"mode"`
	EnhanceProtect  *enhanceProtect `json:"enhanceProtect,omitempty"`
	DefenseInDepth  *defenseInDepth `json:"defenseInDepth,omitempty"`
	ModelingOptions any             `json:"modelingOptions,omitempty"`
	Config          *proxyConfig    `json:"networkProxyConfig,omitempty"`
}

// enhanceProtect has other enforcers' rules beside those of the proxy.
type enhanceProtect struct {
	Network               *networkRules `json:"networkProxyRawRules,omitempty"`
	HardeningRules        any           `json:"hardeningRules,omitempty"`
	AttackProtectionRules any           `json:"attackProtectionRules,omitempty"`
	VulMitigationRules    any           `json:"vulMitigationRules,omitempty"`
	AppArmorRawRules      any           `json:"appArmorRawRules,omitempty"`
	BpfRawRules           any           `json:"bpfRawRules,omitempty"`
	SyscallRawRules       any           `json:"syscallRawRules,omitempty"`
	Privileged            any           `json:"privileged,omitempty"`
	AuditViolations       any           `json:"auditViolations,omitempty"`
	AllowViolations       any           `json:"allowViolations,omitempty"`
}

type defenseInDepth struct {
	Network         *networkRules `json:"networkProxy,omitempty"`
	AppArmor        any           `json:"appArmor,omitempty"`
	Seccomp         any           `json:"seccomp,omitempty"`
	AllowViolations any           `json:"allowViolations,omitempty"`
}

type networkRules struct {
	Egress *egress `json:"egress,omitempty"`
}

type egress struct {
	DefaultAction string        `json:"defaultAction"`
	Rules         []addressRule `json:"rules,omitempty"`
	HTTPRules     []httpRule    `json:"httpRules,omitempty"`
}

type addressRule struct {
	Qualifiers  []string `json:"qualifiers"`
	Description string   `json:"description,omitempty"`
	IP          string   `json:"ip,omitempty"`
	CIDR        string   `json:"cidr,omitempty"`
	Ports       []port   `json:"ports,omitempty"`
}

type httpRule struct {
	Qualifiers  []string  `json:"qualifiers"`
	Description string    `json:"description,omitempty"`
	Match       httpMatch `json:"match"`
}

type httpMatch struct {
	Hosts   []string    `json:"hosts,omitempty"`
	Ports   []port      `json:"ports,omitempty"`
	Paths   []pathMatch `json:"paths,omitempty"`
	Methods []string    `json:"methods,omitempty"`
}

type pathMatch struct {
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

type port struct {
	Port    int32 `json:"port"`
	EndPort int32 `json:"endPort,omitempty"`
}

type proxyConfig struct {
	MITM      *mitmConfig `json:"mitm,omitempty"`
	UID       *int64      `json:"proxyUID,omitempty"`
	Port      *int32      `json:"proxyPort,omitempty"`
	AdminPort *int32      `json:"proxyAdminPort,omitempty"`
}

type mitmConfig struct {
	Domains         []string         `json:"domains"`
	CASecretRef     string           `json:"caSecretRef,omitempty"`
	HeaderMutations []headerMutation `json:"headerMutations,omitempty"`
}

type headerMutation struct {
	Domain  string   `json:"domain"`
	Headers []header `json:"headers"`
}

type header struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	SecretRef *secretRef `json:"secretRef,omitempty"`
}

type secretRef struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}
