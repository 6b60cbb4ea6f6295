#!/usr/bin/env bash
# Runs the policy of demo.yaml in the local lab and shows what it does. "make demo" builds the plugin and gets Envoy first.
set -euo pipefail

readonly root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly plugin=$root/bin/kubectl-netproxy

[[ -x $plugin ]] || { echo "demo.sh: $plugin is missing: run make build" >&2; exit 1; }
ENVOY=${ENVOY:-$(bash "$root/hack/envoy.sh")}
export ENVOY
exec "$plugin" demo -f "$root/hack/demo.yaml" "$@"
