package v1alpha1

import (
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Warning is advice about a valid policy: something in it is weaker, or matches less, than it looks.
//
// +kubebuilder:object:generate=false
type Warning struct {
	// Field is the path of the field, such as spec.egress.rules[0].http.
	Field string
	// Message says what happens and what to change.
	Message string
}

// String has the field in front, as errors have.
func (w Warning) String() string { return w.Field + ": " + w.Message }

// ValidatePolicy judges a whole policy of either kind: what Validate does, and the metadata and selectors around it.
func ValidatePolicy(policy Policy) ([]Warning, field.ErrorList) {
	errs := validateName(policy.GetName(), field.NewPath("metadata", "name"))
	warnings, specErrs := Validate(policy.PolicySpec(), field.NewPath("spec"))
	errs = append(errs, specErrs...)
	if cluster, ok := policy.(*ClusterEgressPolicy); ok {
		errs = append(errs, validateSelector(&cluster.Spec.NamespaceSelector, field.NewPath("spec", "namespaceSelector"))...)
	}
	return warnings, errs
}

// Validate is the one judgement of a spec, for both kinds. Every error names the field, the value and what to write
// instead. path is where the spec stands, usually "spec". It changes nothing and needs no defaults set.
func Validate(spec *EgressPolicySpec, path *field.Path) (warnings []Warning, errs field.ErrorList) {
	c := &checker{
		spec: spec, domains: newDomainSet(), passthrough: newHostSet(), allowed: newHostSet(), names: map[string]int{},
	}
	c.errs = append(c.errs, validateSelector(&spec.PodSelector, path.Child("podSelector"))...)
	// Interception first: what rules can see depends on it.
	c.checkMITM(path.Child("mitm"))
	c.checkEgress(path.Child("egress"))
	c.warnUnallowed(path.Child("mitm", "domains"))
	c.errs = append(c.errs, validateTrust(&spec.Trust, path.Child("trust"))...)
	c.checkProxy(path.Child("proxy"))
	return c.warnings, c.errs
}

// checker is one run of Validate.
//
// +kubebuilder:object:generate=false
type checker struct {
	spec     *EgressPolicySpec
	warnings []Warning
	errs     field.ErrorList

	// parsed and domains are what mitm.domains mean, passthrough what mitm.passthroughDomains mean.
	parsed      []domainAt
	domains     *domainSet
	passthrough *hostSet
	// allowed and allowedCIDRs are the destinations of all Allow rules; allowsAny is set by one without destination.
	allowed      *hostSet
	allowedCIDRs []netip.Prefix
	allowsAny    bool
	// names are the rules' names with their index.
	names map[string]int
}

func (c *checker) warn(path *field.Path, message string) {
	c.warnings = append(c.warnings, Warning{Field: path.String(), Message: message})
}

func (c *checker) fail(err *field.Error) { c.errs = append(c.errs, err) }

// invalid reports a value with the reason that a parser gave.
func (c *checker) invalid(path *field.Path, value any, reason error) {
	c.fail(field.Invalid(path, value, reason.Error()))
}

// duplicate is field.Duplicate with the fix.
func duplicate(path *field.Path, value, detail string) *field.Error {
	err := field.Duplicate(path, value)
	err.Detail = detail
	return err
}

func validateSelector(selector *metav1.LabelSelector, path *field.Path) field.ErrorList {
	return metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path)
}

func validateName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "write a name of lower-case letters, digits and hyphens")}
	}
	if len(name) > validation.LabelValueMaxLength {
		return field.ErrorList{field.Invalid(path, name, "longer than 63 characters: it becomes a label of the pods; shorten it")}
	}
	return validateSubdomain(name, path)
}

// validateSubdomain judges the name of an API object.
func validateSubdomain(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "write the name of the object")}
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return field.ErrorList{field.Invalid(path, name,
			"no name of an object; write lower-case letters, digits, inner hyphens and dots, at most 253")}
	}
	return nil
}

// validateKey judges a key of a Secret or ConfigMap.
func validateKey(key string, path *field.Path) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "write the key to read")}
	}
	if len(validation.IsConfigMapKey(key)) > 0 {
		return field.ErrorList{field.Invalid(path, key,
			"no key; write letters, digits, hyphens, underscores and dots, at most 253, but not .. in front")}
	}
	return nil
}
