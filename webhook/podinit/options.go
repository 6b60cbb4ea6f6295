package podinit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"

	"github.com/netproxy/netproxy/webhook/capture"
)

// maxSlots is above the number of containers that a pod can sensibly have, and bounds the directories made.
const maxSlots = 256

// captureOptions are the flags of "netproxy-init capture".
type captureOptions struct {
	uid, redirectPort, adminPort uint
	defaultAction                string
	share, trustRoot, dns        string
	slots                        uint
}

// trustOptions are the flags of "netproxy-init trust".
type trustOptions struct{ policyCAs, out string }

func parseCapture(args []string) (captureOptions, error) {
	var o captureOptions
	flags := flagSet("capture")
	flags.UintVar(&o.uid, "uid", 0, "the proxy's user")
	flags.UintVar(&o.redirectPort, "redirect-port", 0, "the proxy's port for redirected connections")
	flags.UintVar(&o.adminPort, "admin-port", 0, "the proxy's status port")
	flags.StringVar(&o.defaultAction, "default-action", "", "the policy's defaultAction, Deny or Allow")
	flags.StringVar(&o.share, "share", "", "directory for a copy of this program")
	flags.StringVar(&o.trustRoot, "trust-root", "", "directory for the public roots and the slots")
	flags.StringVar(&o.dns, "dns", "", "directory for copies of resolv.conf and hosts")
	flags.UintVar(&o.slots, "trust-slots", 0, "number of slots, one for each image")
	if err := parse(flags, args); err != nil {
		return o, err
	}
	return o, o.validate()
}

// validate leaves to capture.Rules what that checks itself.
func (o captureOptions) validate() error {
	switch {
	case o.uid > math.MaxInt32:
		return fmt.Errorf("--uid=%d is above %d, the highest user of Kubernetes", o.uid, math.MaxInt32)
	case o.redirectPort > math.MaxUint16, o.adminPort > math.MaxUint16:
		return fmt.Errorf("--redirect-port=%d or --admin-port=%d is no port", o.redirectPort, o.adminPort)
	case o.slots > maxSlots:
		return fmt.Errorf("--trust-slots=%d is above %d", o.slots, maxSlots)
	case o.slots > 0 && o.trustRoot == "":
		return errors.New("--trust-slots needs --trust-root")
	}
	_, err := o.action()
	return err
}

func (o captureOptions) action() (capture.DefaultAction, error) {
	switch o.defaultAction {
	case "Deny":
		return capture.Deny, nil
	case "Allow":
		return capture.Allow, nil
	}
	return capture.Deny, fmt.Errorf("--default-action=%q is neither Deny nor Allow", o.defaultAction)
}

func parseTrust(args []string) (trustOptions, error) {
	var o trustOptions
	flags := flagSet("trust")
	flags.StringVar(&o.policyCAs, "policy-cas", "", "PEM file with the CAs of the policy")
	flags.StringVar(&o.out, "out", "", "directory for the trust stores")
	if err := parse(flags, args); err != nil {
		return o, err
	}
	if o.policyCAs == "" || o.out == "" {
		return o, errors.New("--policy-cas and --out are needed")
	}
	return o, nil
}

func flagSet(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q is not expected", flags.Arg(0))
	}
	return nil
}
