package plugin

import (
	"context"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
)

// defaults reads what holds for all policies.
func (c *checker) defaults(ctx context.Context) bool {
	where := "ConfigMap " + c.options.Namespace + "/" + v1alpha1.DefaultsConfigMap
	found, err := c.client.ConfigMap(ctx, c.options.Namespace, v1alpha1.DefaultsConfigMap)
	switch {
	case cluster.IsNotFound(err):
		return true
	case err != nil:
		c.unreadable(where, err)
		return true
	}
	edit := "kubectl edit configmap -n " + c.options.Namespace + " " + v1alpha1.DefaultsConfigMap
	ranges, err := decode.PrivateRanges(found.Data[v1alpha1.DefaultsPrivateRangesKey])
	if err != nil {
		c.problem("NP011", severityError, edit+"; until then policies keep the private ranges that they had, and new ones are not rendered", "%s: %v", where, err)
	}
	if _, err := decode.Resources(found.Data[v1alpha1.DefaultsResourcesKey]); err != nil {
		c.problem("NP011", severityError, edit+"; until then no protected pod is created", "%s: %v", where, err)
	}
	if len(ranges) > 0 {
		c.ok("%d ranges count as private besides the built-in ones", len(ranges))
	}
	return true
}
