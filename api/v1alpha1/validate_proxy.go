package v1alpha1

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateTrust(trust *Trust, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range trust.AdditionalCAs {
		errs = append(errs, validateCASource(&trust.AdditionalCAs[i], path.Child("additionalCAs").Index(i))...)
	}
	return errs
}

func validateCASource(source *CASource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case source.ConfigMapRef != nil && source.SecretRef != nil:
		errs = append(errs, field.Forbidden(path.Child("secretRef"), "configMapRef and secretRef exclude each other; make two entries"))
	case source.ConfigMapRef == nil && source.SecretRef == nil:
		errs = append(errs, field.Required(path, "write configMapRef or secretRef"))
	}
	if ref := source.ConfigMapRef; ref != nil {
		errs = append(errs, validateSubdomain(ref.Name, path.Child("configMapRef", "name"))...)
		errs = append(errs, validateKey(ref.Key, path.Child("configMapRef", "key"))...)
	}
	if ref := source.SecretRef; ref != nil {
		errs = append(errs, validateSubdomain(ref.Name, path.Child("secretRef", "name"))...)
		errs = append(errs, validateKey(ref.Key, path.Child("secretRef", "key"))...)
	}
	return errs
}

func (c *checker) checkProxy(path *field.Path) {
	proxy := &c.spec.Proxy
	port, adminPort := proxy.PortOrDefault(), proxy.AdminPortOrDefault()
	c.checkProxyPort(port, path.Child("port"))
	c.checkProxyPort(adminPort, path.Child("adminPort"))
	if port == adminPort {
		c.fail(field.Invalid(path.Child("adminPort"), adminPort, fmt.Sprintf(
			"the same as port; left out, port is %d and adminPort %d; choose another", DefaultProxyPort, DefaultAdminPort)))
	}
	if uid := proxy.UID; uid != nil {
		c.checkUID(*uid, path.Child("uid"))
	}
	if proxy.AllowUserChange {
		c.warn(path.Child("allowUserChange"), "containers keep SETUID and SETGID, so that root in them can become the proxy's user "+
			"and go around it; the policy will be Weakened")
	}
	c.errs = append(c.errs, ValidateResources(&proxy.Resources, path.Child("resources"))...)
}

func (c *checker) checkProxyPort(port int32, path *field.Path) {
	if port < MinProxyPort || port > maxPort {
		c.fail(field.Invalid(path, port, fmt.Sprintf("the proxy runs without privileges; write %d to %d", MinProxyPort, maxPort)))
	}
}

func (c *checker) checkUID(uid int64, path *field.Path) {
	if uid < MinProxyUID || uid > MaxProxyUID {
		c.fail(field.Invalid(path, uid, fmt.Sprintf(
			"the proxy's user is let out, so it must be nobody else's; write %d to %d or leave it out", MinProxyUID, MaxProxyUID)))
		return
	}
	c.warn(path, fmt.Sprintf("an image whose USER is %d, or that has a setuid file of that user, becomes the proxy; "+
		"leave uid out and each pod gets its own", uid))
}

// ValidateResources judges resources by themselves: for a policy what it sets, after merging with the defaults what the
// sidecar will have. Limits must not be below requests.
func ValidateResources(resources *Resources, path *field.Path) field.ErrorList {
	errs := validateList(resources.Requests, path.Child("requests"))
	errs = append(errs, validateList(resources.Limits, path.Child("limits"))...)
	for _, name := range sortedNames(resources.Limits) {
		limit, at := resources.Limits[name], path.Child("limits").Key(string(name))
		request, requested := resources.Requests[name]
		switch {
		case limit.IsZero():
			errs = append(errs, field.Invalid(at, limit.String(), "no limit at all; write a positive quantity"))
		case requested && limit.Cmp(request) < 0:
			errs = append(errs, field.Invalid(at, limit.String(), fmt.Sprintf(
				"below the request of %s; raise the limit or lower the request", request.String())))
		}
	}
	return errs
}

func validateList(list corev1.ResourceList, path *field.Path) field.ErrorList {
	known := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	var errs field.ErrorList
	for _, name := range sortedNames(list) {
		quantity := list[name]
		if !slices.Contains(known, name) {
			errs = append(errs, field.NotSupported(path.Key(string(name)), name, known))
		}
		if quantity.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(string(name)), quantity.String(), "negative; write a positive quantity"))
		}
	}
	return errs
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
