package xds

import (
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

func (h *hostBuilder) perFilter(filter string, config *anypb.Any) {
	if h.host.TypedPerFilterConfig == nil {
		h.host.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	h.host.TypedPerFilterConfig[filter] = config
}

// injection switches on what puts a domain's headers into its requests. Plaintext chains have no such filters.
func (h *hostBuilder) injection(d *Domain) {
	var literal []*mutationv3.HeaderMutation
	for _, header := range d.Headers {
		if header.Credential != nil {
			h.perFilter(filterInject+header.Credential.id(), h.switchedOn())
			continue
		}
		literal = append(literal, setHeader(header))
	}
	if literal != nil {
		h.perFilter(filterHeaders, h.any(&headermutationv3.HeaderMutationPerRoute{Mutations: &headermutationv3.Mutations{RequestMutations: literal}}))
	}
}

// switchedOn enables a filter that is disabled in its chain.
func (b *builder) switchedOn() *anypb.Any {
	if b.filterSwitch == nil {
		b.filterSwitch = b.any(&routev3.FilterConfig{Config: &anypb.Any{}})
	}
	return b.filterSwitch
}

// setHeader: % begins a format in Envoy.
func setHeader(h Header) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}
}
