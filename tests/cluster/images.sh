#!/usr/bin/env bash
# images.sh NAME...|all: makes images and loads those into the running cluster that it has not got yet. A pod gets the new
# image when it is made anew: its name stays netproxy.test/NAME:1.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

inside() { nsenter -t "$(cat "$state/pid")" -m -n -p -- "$@"; }

main() {
	local archives archive
	alive || fail "the cluster is not up: make cluster"
	archives=$(cd "$root" && go run ./tests/cluster/image "$cache/images" "$@")
	mkdir -p "$state/loaded"
	ln -sfn "$cache/images/privateca" "$state/privateca" # where tests find the CA that is in the image
	for archive in $archives; do
		[[ ! -e $state/loaded/$(basename "$archive") ]] || continue
		inside ctr -a /run/containerd/containerd.sock -n k8s.io images import "$archive"
		touch "$state/loaded/$(basename "$archive")"
	done
}

main "$@"
