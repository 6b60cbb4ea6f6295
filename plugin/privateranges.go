package plugin

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
)

// rangeOptions are the ranges that count as private besides the built-in ones.
type rangeOptions struct {
	PrivateRanges []string
}

const rangeFlag = "private-range"

func (o *rangeOptions) addRangeFlag(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.PrivateRanges, rangeFlag, nil, "CIDR that counts as private, as install --set privateRanges has it (repeatable; default with a policy of the cluster: the cluster's)")
}

// given are those of the flag.
func (o *rangeOptions) given() ([]netip.Prefix, error) {
	ranges, errs := v1alpha1.ValidatePrivateRanges(o.PrivateRanges, field.NewPath("--"+rangeFlag))
	return ranges, errs.ToAggregate()
}

// ranges are those of the flag, or else the cluster's. What cannot be known is a warning: it makes an answer kinder than the proxies are.
func (o *rangeOptions) ranges(ctx context.Context, s *shell, client *cluster.Client) ([]netip.Prefix, error) {
	if len(o.PrivateRanges) > 0 {
		return o.given()
	}
	ranges, err := readRanges(ctx, client)
	if err != nil && ctx.Err() == nil {
		s.warn("%s; a name whose address is in a range that the cluster counts as private may be called allowed here, and the proxies refuse it: name such ranges with --%s", firstLine(err.Error()), rangeFlag)
	}
	return ranges, ctx.Err()
}

// readRanges are the ranges in the cluster's defaults; none if there are no defaults.
func readRanges(ctx context.Context, client *cluster.Client) ([]netip.Prefix, error) {
	const namespace = setup.Namespace
	where := "ConfigMap " + namespace + "/" + v1alpha1.DefaultsConfigMap
	defaults, err := client.ConfigMap(ctx, namespace, v1alpha1.DefaultsConfigMap)
	switch {
	case cluster.IsNotFound(err):
		return nil, noInstallation(ctx, client, namespace)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", where, err)
	}
	ranges, err := decode.PrivateRanges(defaults.Data[v1alpha1.DefaultsPrivateRangesKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return ranges, nil
}

func rangeTexts(ranges []netip.Prefix) []string {
	var out []string
	for _, p := range ranges {
		out = append(out, p.String())
	}
	return out
}

// noInstallation is the error about defaults that are missing because netproxy is somewhere else.
func noInstallation(ctx context.Context, client *cluster.Client, namespace string) error {
	if _, err := client.ReadNamespace(ctx, namespace); cluster.IsNotFound(err) {
		return fmt.Errorf("there is no namespace %s: the defaults of a netproxy elsewhere are not read", namespace)
	}
	return nil
}
