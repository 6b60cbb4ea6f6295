package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/webhook/render"
)

// ErrDefaults is wrapped by the error about defaults that say nothing that can be understood.
var ErrDefaults = errors.New("the cluster's defaults are broken")

// PrivateRanges are the ranges that count as private besides the built-in ones, as the cluster's defaults say, and the version of
// these; own is netproxy's namespace.
func PrivateRanges(ctx context.Context, reader client.Reader, own string) (ranges []netip.Prefix, version string, err error) {
	var defaults corev1.ConfigMap
	key := client.ObjectKey{Namespace: own, Name: v1alpha1.DefaultsConfigMap}
	if err := reader.Get(ctx, key, &defaults); client.IgnoreNotFound(err) != nil {
		return nil, "", fmt.Errorf("read ConfigMap %s: %w", key, err)
	}
	ranges, err = decode.PrivateRanges(defaults.Data[v1alpha1.DefaultsPrivateRangesKey])
	if err != nil {
		err = fmt.Errorf("%w: ConfigMap %s: %w", ErrDefaults, key, err)
	}
	return ranges, defaults.ResourceVersion, err
}

// privateRanges takes the ranges of the defaults. While these are broken a Secret keeps those that it was rendered with, and a new
// policy waits: fewer ranges would open what was closed.
func (t *targets) privateRanges(ctx context.Context, request *render.Request, stored *corev1.Secret, read versions) ([]render.Problem, error) {
	ranges, version, err := PrivateRanges(ctx, t.Reader, t.Namespace)
	read[defaultsAt(t.Namespace)] = version
	if !errors.Is(err, ErrDefaults) {
		request.PrivateRanges = ranges
		return nil, err
	}
	if stored == nil {
		return nil, &Failure{v1alpha1.ReasonDefaultsInvalid, fmt.Sprintf("%v; a policy that is not rendered yet waits until this is mended", err)}
	}
	broken := err.Error()
	if request.PrivateRanges, err = splitRanges(stored.Annotations[v1alpha1.AnnotationPrivateRanges]); err != nil {
		return nil, &Failure{v1alpha1.ReasonDefaultsInvalid, fmt.Sprintf("%s; annotation %s of the policy's Secret does not say what they were: %v", broken, v1alpha1.AnnotationPrivateRanges, err)}
	}
	return []render.Problem{{Reason: v1alpha1.ReasonDefaultsInvalid, Message: broken + "; the policy keeps the private ranges that it had"}}, nil
}

func joinRanges(ranges []netip.Prefix) string {
	texts := make([]string, len(ranges))
	for i, p := range ranges {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func splitRanges(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	ranges, errs := v1alpha1.ValidatePrivateRanges(strings.Split(text, ","), nil)
	return ranges, errs.ToAggregate()
}

// ofDefaults are all targets.
func (t *targets) ofDefaults(ctx context.Context, object *corev1.ConfigMap) []Target {
	if object.Namespace != t.Namespace || object.Name != v1alpha1.DefaultsConfigMap {
		return nil
	}
	policies, err := t.policiesFor(ctx, "")
	if err != nil {
		return nil // the cache is not there yet; its objects enqueue themselves
	}
	var out []Target
	for _, p := range policies {
		out = append(out, t.ofPolicy(ctx, p)...)
	}
	return out
}
