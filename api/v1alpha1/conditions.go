package v1alpha1

// Condition types of a policy's status.
const (
	// ConditionReady is true when the configuration is rendered, every selected namespace is covered by admission, and all
	// injected pods run the rendered revision.
	ConditionReady = "Ready"
	// ConditionConflict is true when another policy selects pods of this one.
	ConditionConflict = "Conflict"
	// ConditionWeakened is true when the policy gives up a guarantee: containers keep SETUID and SETGID.
	ConditionWeakened = "Weakened"
	// ConditionDegraded is true when something the policy needs is missing or was refused.
	ConditionDegraded = "Degraded"
	// ConditionCovered is true when admission fails closed in every selected namespace.
	ConditionCovered = "Covered"
	// ConditionPodSecurity is false when a selected namespace's Pod Security level forbids the init container's NET_ADMIN.
	ConditionPodSecurity = "PodSecurity"
)

// Reasons of conditions.
const (
	ReasonInSync              = "InSync"
	ReasonRollingOut          = "RollingOut"
	ReasonInvalid             = "Invalid"
	ReasonPodsUnprotected     = "PodsUnprotected"
	ReasonNamespaceNotCovered = "NamespaceNotCovered"
	ReasonConfigRejected      = "ConfigRejected"
	ReasonTooLarge            = "TooLarge"
	ReasonNearlyTooLarge      = "NearlyTooLarge"
	ReasonCredentialMissing   = "CredentialMissing"
	ReasonCAUnreadable        = "CAUnreadable"
	ReasonCANotAllowed        = "CANotAllowed"
	ReasonCAMissing           = "CAMissing"
	ReasonOtherPolicyWins     = "OtherPolicyWins"
	ReasonWinsOverOthers      = "WinsOverOthers"
	ReasonNone                = "None"
	ReasonUserChangeAllowed   = "UserChangeAllowed"
	ReasonPrivilegedNeeded    = "PrivilegedNeeded"
	ReasonAllCovered          = "AllCovered"
	ReasonNothingSelected     = "NothingSelected"
	ReasonPodsDistrustCA      = "PodsDistrustCA"
	ReasonSecretNotOurs       = "SecretNotOurs"
	ReasonRefused             = "Refused"
	ReasonTerminating         = "Terminating"
	ReasonNotRendered         = "NotRendered"
	ReasonUIDFixed            = "UIDFixed"
	ReasonDefaultsInvalid     = "DefaultsInvalid"
)
