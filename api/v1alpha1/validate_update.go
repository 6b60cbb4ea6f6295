package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateUpdate judges what may not change, by removal of the block either: the ports, which have defaults, and a user
// that was given once. It judges nothing else; Validate does.
func ValidateUpdate(spec, old *EgressPolicySpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	proxy := path.Child("proxy")
	if port, was := spec.Proxy.PortOrDefault(), old.Proxy.PortOrDefault(); port != was {
		errs = append(errs, immutable(proxy.Child("port"), port, int64(was)))
	}
	if port, was := spec.Proxy.AdminPortOrDefault(), old.Proxy.AdminPortOrDefault(); port != was {
		errs = append(errs, immutable(proxy.Child("adminPort"), port, int64(was)))
	}
	uid, was := spec.Proxy.UID, old.Proxy.UID
	switch {
	case was == nil:
	case uid == nil:
		errs = append(errs, immutable(proxy.Child("uid"), nil, *was))
	case *uid != *was:
		errs = append(errs, immutable(proxy.Child("uid"), *uid, *was))
	}
	return errs
}

func immutable(path *field.Path, value any, was int64) *field.Error {
	return field.Invalid(path, value, fmt.Sprintf("running pods depend on it; write %d again, or make a new policy", was))
}
