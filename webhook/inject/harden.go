package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// dropped capabilities undo the packet filter (NET_ADMIN), go around it (NET_RAW opens packet sockets), or make root the
// proxy's user (SETUID, SETGID).
func dropped(in *Inputs) []corev1.Capability {
	if in.Spec.Proxy.AllowUserChange {
		return []corev1.Capability{"NET_ADMIN", "NET_RAW"}
	}
	return []corev1.Capability{"NET_ADMIN", "NET_RAW", "SETGID", "SETUID"}
}

// refusedCapabilities are never in a runtime's default set, so that a container that has one asked for it. Each of them
// leads to the node, or to the processes of the proxy.
func refusedCapabilities() []corev1.Capability {
	return []corev1.Capability{
		"ALL", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "PERFMON", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO",
	}
}

// harden takes from a container what would undo the capture. It assumes that refuse has nothing against it.
func harden(c *corev1.Container, in *Inputs) {
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	c.SecurityContext.AllowPrivilegeEscalation = new(false)
	if c.SecurityContext.Capabilities == nil {
		c.SecurityContext.Capabilities = &corev1.Capabilities{}
	}
	drop := &c.SecurityContext.Capabilities.Drop
	if hasCapability(*drop, "ALL") {
		return
	}
	for _, capability := range dropped(in) {
		if !hasCapability(*drop, capability) {
			*drop = append(*drop, capability)
		}
	}
}

func hasCapability(list []corev1.Capability, want corev1.Capability) bool {
	return slices.ContainsFunc(list, func(c corev1.Capability) bool {
		return strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_") == string(want)
	})
}

// refuseSecurity lists what a container may not ask for.
func refuseSecurity(s *corev1.SecurityContext, in *Inputs, path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	forbid := func(child, detail string) { errs = append(errs, field.Forbidden(path.Child(child), detail)) }
	if s.Privileged != nil && *s.Privileged {
		forbid("privileged", "a privileged container can remove the packet filter; remove the field, or take the pod out of the policy's podSelector")
	}
	if s.AllowPrivilegeEscalation != nil && *s.AllowPrivilegeEscalation {
		forbid("allowPrivilegeEscalation", "a set-user-ID program could become the proxy's user; remove the field or write false")
	}
	if s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount {
		forbid("procMount", "an unmasked /proc leads out of the container; remove the field")
	}
	if s.RunAsUser != nil && *s.RunAsUser == in.uid() {
		errs = append(errs, field.Invalid(path.Child("runAsUser"), *s.RunAsUser, "is the proxy's user, whose traffic is not filtered; choose another"))
	}
	return append(errs, refuseCapabilities(s.Capabilities, in, path.Child("capabilities", "add"))...)
}

func refuseCapabilities(c *corev1.Capabilities, in *Inputs, path *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	for _, capability := range slices.Concat(dropped(in), refusedCapabilities()) {
		if hasCapability(c.Add, capability) {
			errs = append(errs, field.Invalid(path, capability, capabilityFix(capability)))
		}
	}
	return errs
}

func capabilityFix(c corev1.Capability) string {
	switch c {
	case "SETUID", "SETGID":
		return "a process could become the proxy's user, whose traffic is not filtered; remove it, or set proxy.allowUserChange in the policy"
	case "NET_ADMIN", "NET_RAW":
		return "undoes or goes around the packet filter; remove it, or take the pod out of the policy's podSelector"
	}
	return "leads to the node or to the proxy's processes; remove it, or take the pod out of the policy's podSelector"
}
