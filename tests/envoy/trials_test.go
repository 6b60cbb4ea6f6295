package envoy

import "github.com/netproxy/netproxy/tests/trials"

type (
	trial   = trials.Trial
	outcome = trials.Outcome
	end     = trials.End
)

const (
	arrives   = trials.Arrives
	plaintext = trials.Plaintext
	passed    = trials.Passed
	raw       = trials.Raw
	denied403 = trials.Denied403
	closed    = trials.Closed
	status401 = trials.Status401
	status404 = trials.Status404
	status421 = trials.Status421
	status400 = trials.Status400
	status503 = trials.Status503

	canary       = trials.Canary
	clientHeader = trials.ClientHeader
)

var (
	try         = trials.Try
	ask         = trials.Ask
	withHost    = trials.WithHost
	withSNI     = trials.WithSNI
	withPath    = trials.WithPath
	overHTTP2   = trials.OverHTTP2
	stranger    = trials.Stranger
	endOf       = trials.EndOf
	authorityOf = trials.AuthorityOf
)
