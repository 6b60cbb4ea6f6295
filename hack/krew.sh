#!/usr/bin/env bash
# Installs the archive for this machine from dist/ with a real krew, below a temporary directory, and runs what krew linked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly krew=sigs.k8s.io/krew/cmd/krew@v0.4.3

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
export KREW_ROOT=$root PATH=$root/bin:$PATH

archives=(dist/kubectl-netproxy_*_"$(go env GOOS)_$(go env GOARCH)".*)
go run "$krew" install --manifest=dist/netproxy.yaml --archive="${archives[0]}"
"$root/bin/kubectl-netproxy" version --client
