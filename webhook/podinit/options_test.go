package podinit

import (
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRunRefuses(t *testing.T) {
	capture := "capture --uid=1337 --redirect-port=15001 --admin-port=15000 --default-action=Deny"
	for args, want := range map[string]string{
		"":                                    "none of capture, trust, node and version",
		"help":                                `"help" is none of`,
		"capture":                             "neither Deny nor Allow",
		capture + " --default-action=deny":    "neither Deny nor Allow",
		capture + " --uid=-1":                 "invalid value",
		capture + " --uid=4294967295":         "highest user",
		capture + " --redirect-port=65536":    "is no port",
		capture + " --trust-slots=1":          "needs --trust-root",
		capture + " --trust-slots=257":        "is above 256",
		capture + " --unknown":                "not defined",
		capture + " more":                     "is not expected",
		capture + " --uid=0":                  "proxy UID 0",
		capture + " --admin-port=15001":       "both 15001",
		capture + " --admin-port=0":           "must not be 0",
		"trust":                               "--policy-cas and --out are needed",
		"trust --policy-cas=/x":               "are needed",
		"trust --policy-cas=/absent --out=/x": "read the CAs of the policy: open absent",
	} {
		h := host{root: fstest.MapFS{"etc/resolv.conf": {Data: []byte("nameserver 10.0.0.1")}}, log: io.Discard}
		err := run(h, strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
